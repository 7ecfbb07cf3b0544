"""Analysis of finished runs: comparison, gate, leaderboard, efficiency."""
