"""The Triton kernels on a CUDA device, checked and then timed with their floors, FLA and PyTorch."""
