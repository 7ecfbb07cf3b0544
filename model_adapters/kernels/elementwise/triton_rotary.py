"""The cosines and sines of rotary positions in Triton, in one launch.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import cdiv, next_power_of_2
from model_adapters.kernels.trial import KERNEL_DTYPES

TOKENS = 8
"""Tokens per program."""


def rotary_tables(
    position_BT: torch.Tensor, frequency_R: torch.Tensor, *, scaling: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(cos, sin)` of position × frequency in fp32, times `scaling`, as [B, T, 2 R] with both halves alike, in `dtype`.

    Su et al. (arXiv:2104.09864). Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    if position_BT.dtype not in (torch.int32, torch.int64) or not position_BT.is_contiguous() or position_BT.dim() != 2:
        raise ValueError(
            f"positions are {tuple(position_BT.shape)} {position_BT.dtype}; contiguous integers are needed"
        )
    fits = frequency_R.dim() == 1 and frequency_R.is_contiguous() and frequency_R.dtype == torch.float32
    if not fits or frequency_R.device != position_BT.device or dtype not in KERNEL_DTYPES:
        raise ValueError(
            f"frequencies are {tuple(frequency_R.shape)} {frequency_R.dtype} on {frequency_R.device}, tables {dtype}; "
            f"contiguous fp32 on {position_BT.device}, and one of bf16, fp16, fp32 are needed"
        )
    size, tokens = len(frequency_R), position_BT.numel()
    shape = (*position_BT.shape, 2 * size)
    cos, sin = (torch.empty(shape, dtype=dtype, device=position_BT.device) for _ in range(2))
    _tables[(cdiv(tokens, TOKENS),)](
        position_BT,
        frequency_R,
        cos,
        sin,
        tokens,
        scaling,
        R=size,
        BR=next_power_of_2(size),
        BT=TOKENS,
        num_warps=4,
        **overlap(position_BT.device),
    )
    return cos, sin


@triton.jit(do_not_specialize=["T", "scaling"])
def _tables(
    p_position,
    p_frequency,
    p_cos,
    p_sin,
    T,
    scaling,
    R: tl.constexpr,
    BR: tl.constexpr,
    BT: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    o_t, o_r = tl.program_id(0) * BT + tl.arange(0, BT), tl.arange(0, BR)
    b_frequency = tl.load(p_frequency + o_r, mask=o_r < R, other=0.0)
    wait_for_earlier(OVERLAPS)
    b_position = tl.load(p_position + o_t, mask=o_t < T, other=0).to(tl.float32)
    b_angle = b_position[:, None] * b_frequency[None, :]
    o_out = o_t.to(tl.int64)[:, None] * (2 * R) + o_r[None, :]
    m_out = (o_t < T)[:, None] & (o_r < R)[None, :]
    b_cos = (tl.cos(b_angle) * scaling).to(p_cos.dtype.element_ty)
    b_sin = (tl.sin(b_angle) * scaling).to(p_sin.dtype.element_ty)
    tl.store(p_cos + o_out, b_cos, mask=m_out)
    tl.store(p_cos + o_out + R, b_cos, mask=m_out)
    tl.store(p_sin + o_out, b_sin, mask=m_out)
    tl.store(p_sin + o_out + R, b_sin, mask=m_out)
