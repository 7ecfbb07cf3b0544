"""Causal attention over cached keys, block by block with a running softmax."""
