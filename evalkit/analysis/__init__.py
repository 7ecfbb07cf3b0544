"""What finished runs say: comparison, gate, leaderboard, efficiency."""
