"""The same model many times: workers that answer samples, and fleets of them on Ray or in threads."""
