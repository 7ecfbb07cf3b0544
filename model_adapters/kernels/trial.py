"""The trial that every kernel passes before it is used: does it give what its reference gives?

Compilers, library builds and GPUs differ, so this is found out on the device rather than assumed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from model_adapters.failures import is_out_of_memory
from model_adapters.kernels.compiling import only_compiling
from model_adapters.messages import first_line

KERNEL_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
"""Dtypes supported by the Triton kernels."""
TOLERANCE: Mapping[torch.dtype, float] = {
    torch.float64: 1e-10,
    torch.float32: 1e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 2e-2,
}
"""Relative, for a few operators in a row."""
ATTENTION_TOLERANCE: Mapping[torch.dtype, float] = {**TOLERANCE, torch.float32: 1e-4}
"""For sums over many keys."""
LAYER_TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 4e-2}
"""For a whole layer, or a recurrence over hundreds of tokens; kernels on a GPU split fp32 operands into halves."""

Tensors = torch.Tensor | tuple[torch.Tensor, ...]


@torch.no_grad()
def trial(
    kernel: Callable[..., Tensors],
    reference: Callable[..., Tensors],
    samples: Iterable[tuple[Any, ...]],
    dtype: torch.dtype,
    *,
    tolerance: Mapping[torch.dtype, float] = TOLERANCE,
) -> str | None:
    """Why a kernel cannot replace its reference, as the end of a sentence; None if it agrees on every sample.

    Samples are argument lists. Results agree if they have the same shapes and dtypes and differ by no more than
    `tolerance` allows for `dtype`; NaN never agrees. A lack of memory says nothing about a kernel: it is raised. While
    kernels are only compiled, nothing is compared.
    """
    if dtype not in tolerance:
        known = ", ".join(str(one).removeprefix("torch.") for one in tolerance)
        return f"takes {known}, and not {str(dtype).removeprefix('torch.')}"
    for sample in samples:
        try:
            if only_compiling():
                kernel(*sample)
                continue
            # The reference first: a kernel may overwrite its arguments.
            expected, found = _as_tuple(reference(*sample)), _as_tuple(kernel(*sample))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            # The reference is used after any exception of a kernel or its compiler.
            return f"does not run here ({type(error).__name__}: {first_line(error)})"
        for one, other in zip(found, expected, strict=True):
            reason = _disagreement(one, other, tolerance[dtype])
            if reason is not None:
                return reason
    return None


def gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    """‖found − expected‖ / ‖expected‖ in fp64; NaN if either has one."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def random_sample(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype, *, seed: int = 0) -> torch.Tensor:
    """Normal random numbers that are the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype)


def _disagreement(found: torch.Tensor, expected: torch.Tensor, allowed: float) -> str | None:
    for what, one, other in (("shape", found.shape, expected.shape), ("dtype", found.dtype, expected.dtype)):
        if one != other:
            return f"gives the {what} {one} instead of {other}"
    # Written so that NaN disagrees too.
    off = gap(found, expected)
    return None if off <= allowed else f"is off by {off:.1e} of its size, more than {allowed:.0e}"


def _as_tuple(result: Tensors) -> tuple[torch.Tensor, ...]:
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)
