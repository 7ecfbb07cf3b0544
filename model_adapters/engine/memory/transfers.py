"""Copies between host and device that do not wait for the work that the device has been given before.

They go through pinned memory: PyTorch copies from and to other memory only after all that work.
"""

import torch


def to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor on the host to a device; the tensor itself is returned if that is the host."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def to_host(x: torch.Tensor) -> torch.Tensor:
    """Start a copy to the host, a real one on a CPU too; it must not be read before the device has come that far."""
    copied = torch.empty(x.shape, dtype=x.dtype, pin_memory=x.is_cuda)
    return copied.copy_(x, non_blocking=True)
