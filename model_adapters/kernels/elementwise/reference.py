"""The elementwise operators in plain PyTorch, computed in fp32 (fp64 for fp64) and rounded once at the end.

Shape suffixes: B sequences, H heads, T tokens, D features, R = D / 2.
"""

import torch
import torch.nn.functional as F


def rms_norm(
    x: torch.Tensor, weight_D: torch.Tensor, *, epsilon: float, weight_offset: float = 0.0, gate: torch.Tensor | None
) -> torch.Tensor:
    """x / rms(x) (weight + offset) over the last dimension, times silu(gate) if a gate is given.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (arXiv:1910.07467).
    """
    wide = _wide(x)
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    scaled = scaled * (weight_D.to(wide.dtype) + weight_offset)
    if gate is not None:
        scaled = scaled * F.silu(_wide(gate))
    return scaled.to(x.dtype)


def silu_product(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) up, the inner part of SwiGLU (Shazeer, arXiv:2002.05202)."""
    return (F.silu(_wide(gate)) * _wide(up)).to(up.dtype)


def rotate(x_BHTD: torch.Tensor, cos_BTD: torch.Tensor, sin_BTD: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al., arXiv:2104.09864) on features paired half against half."""
    wide = _wide(x_BHTD)
    first_BHTR, second_BHTR = wide.chunk(2, dim=-1)
    turned_BHTD = torch.cat([-second_BHTR, first_BHTR], dim=-1)
    cos, sin = cos_BTD[:, None].to(wide.dtype), sin_BTD[:, None].to(wide.dtype)
    return (wide * cos + turned_BHTD * sin).to(x_BHTD.dtype)


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()
