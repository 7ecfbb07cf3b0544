"""Products of thousands of tokens with a matrix, by those algorithms of cuBLAS that were measured to be fastest."""
