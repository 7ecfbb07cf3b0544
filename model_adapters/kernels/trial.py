"""Whether a kernel gives what the operators that it stands in for give, on a sample."""

import torch

TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 2e-2}
"""Relative, for a few operators in a row; number formats without an entry have no kernels."""
KERNEL_DTYPES = tuple(TOLERANCE)


def gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    """‖found − expected‖ / ‖expected‖ in fp64; NaN where either has one."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def agrees(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype | None = None) -> bool:
    """Whether they are alike within what a number format (by default found's own) allows; NaN never is."""
    return found.shape == expected.shape and gap(found, expected) <= TOLERANCE.get(dtype or found.dtype, 0.0)
