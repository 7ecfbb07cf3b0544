"""The gated delta rule: its definition and chunked form in PyTorch, and the Triton kernels."""
