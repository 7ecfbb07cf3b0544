"""Programmatic dependent launch: on Hopper and later, a kernel may start while the kernel before it is ending.

Before `wait_for_earlier` a kernel may only read weights, which no kernel writes, and must write nothing. After it, all
earlier kernels are complete, because the last of them waited in turn. CUDA graphs keep such launches. What a kernel
before may still write can be prefetched, which reads nothing: the second-level cache has what is written later.
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
LINE_BYTES = tl.constexpr(128)
"""A line of the second-level cache."""


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


@triton.jit
def prefetch(p_row, SIZE: tl.constexpr, WIDTH: tl.constexpr):
    """Ask for SIZE contiguous elements at each address [rows] in the second-level cache; WIDTH is a power of 2 above.

    Only for GPUs whose kernels overlap.
    """
    ITEM: tl.constexpr = p_row.dtype.element_ty.primitive_bitwidth // 8
    LINES: tl.constexpr = (WIDTH * ITEM + LINE_BYTES - 1) // LINE_BYTES
    o_byte = tl.minimum(tl.arange(0, LINES) * LINE_BYTES, SIZE * ITEM - 1)
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.b32 $0, 0;",
        "=r,l",
        [p_row.to(tl.int64)[:, None] + o_byte[None, :]],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )
