"""Operators with a plain PyTorch reference beside each kernel: one folder an operator."""
