"""Products of one token's features with a weight matrix: what a decode step of one sequence consists of."""
