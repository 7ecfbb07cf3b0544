"""Programmatic dependent launch: on Hopper and later, a kernel may start while the kernel before it is ending.

Before `wait_for_earlier` a kernel may only read weights, which no kernel writes, and must write nothing. After it, all
earlier kernels are complete, because the last of them waited in turn. CUDA graphs keep such launches.
"""

from functools import lru_cache

import torch
import triton
import triton.language as tl

try:
    from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait
except ImportError:  # a version of Triton without it
    gdc_wait = None

FIRST_CAPABILITY = (9, 0)


@lru_cache(maxsize=16)
def overlap(device: torch.device) -> dict[str, bool]:
    """Launch options for a kernel with a parameter OVERLAPS on this device."""
    if device.type != "cuda" or gdc_wait is None or torch.cuda.get_device_capability(device) < FIRST_CAPABILITY:
        return {"OVERLAPS": False}
    return {"OVERLAPS": True, "launch_pdl": True}


@triton.jit
def wait_for_earlier(OVERLAPS: tl.constexpr):
    """Let the next kernel start as soon as there is room for it, and wait for the kernels before this one."""
    if OVERLAPS:
        gdc_launch_dependents()
        gdc_wait()
