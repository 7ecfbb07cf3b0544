"""The Triton kernels on a CUDA device: right first, then timed beside their floors, FLA and PyTorch."""
