"""Merge of attention over two disjoint sets of keys in Triton, in one pass.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.sizes import cdiv, next_power_of_2

TOKEN_BLOCK = 32


def merge_outputs(
    first_BHTE: torch.Tensor, first_lse_BHT: torch.Tensor, second_BHTE: torch.Tensor, second_lse_BHT: torch.Tensor
) -> torch.Tensor:
    """The outputs of `reference.merge_attention`, in memory ordered [B, T, H, E].

    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    sequences, heads, tokens, size = first_BHTE.shape
    if second_BHTE.shape != first_BHTE.shape or second_BHTE.dtype != first_BHTE.dtype:
        raise ValueError(f"outputs are {tuple(first_BHTE.shape)} and {tuple(second_BHTE.shape)}; they must be alike")
    for name, out in (("first", first_BHTE), ("second", second_BHTE)):
        if out.stride(-1) != 1 or out.device != first_BHTE.device:
            raise ValueError(f"{name} has strides {out.stride()} on {out.device}; make it contiguous, on one device")
    for name, lse in (("first", first_lse_BHT), ("second", second_lse_BHT)):
        if tuple(lse.shape) != (sequences, heads, tokens) or lse.dtype != torch.float32:
            raise ValueError(f"{name} log-sum-exp is {tuple(lse.shape)} {lse.dtype}; {(sequences, heads, tokens)} fp32")
    out_BTHE = torch.empty((sequences, tokens, heads, size), dtype=first_BHTE.dtype, device=first_BHTE.device)
    _merge[(cdiv(tokens, TOKEN_BLOCK), heads, sequences)](
        first_BHTE,
        first_lse_BHT,
        second_BHTE,
        second_lse_BHT,
        out_BTHE,
        *first_BHTE.stride()[:3],
        *first_lse_BHT.stride(),
        *second_BHTE.stride()[:3],
        *second_lse_BHT.stride(),
        tokens,
        heads,
        E=size,
        BE=next_power_of_2(size),
        BT=TOKEN_BLOCK,
        num_warps=4,
    )
    return out_BTHE.transpose(1, 2)


@triton.jit(do_not_specialize=["T", "H"])
def _merge(
    p_a,
    p_a_lse,
    p_b,
    p_b_lse,
    p_out,
    s_a_b,
    s_a_h,
    s_a_t,
    s_a_lse_b,
    s_a_lse_h,
    s_a_lse_t,
    s_b_b,
    s_b_h,
    s_b_t,
    s_b_lse_b,
    s_b_lse_h,
    s_b_lse_t,
    T,
    H,
    E: tl.constexpr,
    BE: tl.constexpr,
    BT: tl.constexpr,
):
    i_b, i_h = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    o_e = tl.arange(0, BE)
    m_t = o_t < T
    m_row = m_t[:, None] & (o_e < E)[None, :]
    b_a_lse = tl.load(p_a_lse + i_b * s_a_lse_b + i_h * s_a_lse_h + o_t * s_a_lse_t, mask=m_t, other=0.0)
    b_b_lse = tl.load(p_b_lse + i_b * s_b_lse_b + i_h * s_b_lse_h + o_t * s_b_lse_t, mask=m_t, other=0.0)
    # A side without keys has -inf: its weight is 0, and where both have none any weight mixes zeros.
    b_peak = tl.maximum(b_a_lse, b_b_lse)
    b_peak = tl.where(b_peak == -float("inf"), 0.0, b_peak)
    b_a_weight, b_b_weight = tl.exp(b_a_lse - b_peak), tl.exp(b_b_lse - b_peak)
    b_total = b_a_weight + b_b_weight
    b_total = tl.where(b_total == 0.0, 1.0, b_total)
    b_a = tl.load(p_a + i_b * s_a_b + i_h * s_a_h + o_t[:, None] * s_a_t + o_e[None, :], mask=m_row, other=0.0)
    b_b = tl.load(p_b + i_b * s_b_b + i_h * s_b_h + o_t[:, None] * s_b_t + o_e[None, :], mask=m_row, other=0.0)
    b_out = b_a.to(tl.float32) * (b_a_weight / b_total)[:, None] + b_b.to(tl.float32) * (b_b_weight / b_total)[:, None]
    p_rows = p_out + ((i_b * T + o_t)[:, None] * H + i_h) * E + o_e[None, :]
    tl.store(p_rows, b_out.to(p_out.dtype.element_ty), mask=m_row)
