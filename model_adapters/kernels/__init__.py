"""Operators, one folder each, with a plain PyTorch reference for every kernel."""
