"""Products of one token's features with a weight matrix, the main work of a decode step of one sequence."""
