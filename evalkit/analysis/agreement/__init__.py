"""Whether two engines run the same model: the same tokens to both, compared token by token."""
