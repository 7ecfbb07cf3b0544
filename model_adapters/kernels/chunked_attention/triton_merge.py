"""Merge of attention over disjoint sets of keys in Triton, in one pass.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

TOKEN_BLOCK = 32


def merge_outputs(parts: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Attention over the union of sets of keys, in memory ordered [B, T, H, E], from outputs and log-sum-exps of each.

    As `reference.merge_attention` of all of them, rounded once: outputs [B, H, T, E], log-sum-exps [B, H, T] in fp32.
    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    outs, lses = zip(*parts, strict=True)
    like = outs[0]
    sequences, heads, tokens, size = like.shape
    for out, lse in parts:
        if out.shape != like.shape or out.dtype != like.dtype or out.device != like.device or out.stride(-1) != 1:
            found = f"{tuple(out.shape)} {out.dtype} with strides {out.stride()} on {out.device}"
            raise ValueError(f"an output is {found}; {tuple(like.shape)} {like.dtype}, contiguous, is needed")
        if lse.shape != like.shape[:3] or lse.dtype != torch.float32:
            raise ValueError(f"a log-sum-exp is {tuple(lse.shape)} {lse.dtype}; {tuple(like.shape[:3])} fp32 is needed")
    out_BTHE = torch.empty((sequences, tokens, heads, size), dtype=like.dtype, device=like.device)
    _merge[(triton.cdiv(tokens, TOKEN_BLOCK), heads, sequences)](
        outs,
        lses,
        tuple(stride for out in outs for stride in out.stride()[:3]),
        tuple(stride for lse in lses for stride in lse.stride()),
        out_BTHE,
        tokens,
        heads,
        N=len(outs),
        E=size,
        BE=triton.next_power_of_2(size),
        BT=TOKEN_BLOCK,
        num_warps=4,
    )
    return out_BTHE.transpose(1, 2)


@triton.jit(do_not_specialize=["T", "H"])
def _merge(
    p_parts,
    p_lses,
    s_parts,
    s_lses,
    p_out,
    T,
    H,
    N: tl.constexpr,
    E: tl.constexpr,
    BE: tl.constexpr,
    BT: tl.constexpr,
):
    i_b, i_h = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    o_e = tl.arange(0, BE)
    m_t = o_t < T
    m_row = m_t[:, None] & (o_e < E)[None, :]
    b_peak = tl.full([BT], -float("inf"), tl.float32)
    b_lses = ()
    for n in tl.static_range(N):
        p_lse = p_lses[n] + i_b * s_lses[3 * n] + i_h * s_lses[3 * n + 1] + o_t * s_lses[3 * n + 2]
        b_lse = tl.load(p_lse, mask=m_t, other=0.0)
        b_lses = b_lses + (b_lse,)  # noqa: RUF005 - Triton does not unpack tuples
        b_peak = tl.maximum(b_peak, b_lse)
    # A part without keys has -inf: its weight is 0, and where all have none any weight mixes zeros.
    b_peak = tl.where(b_peak == -float("inf"), 0.0, b_peak)
    b_total = tl.zeros([BT], tl.float32)
    b_out = tl.zeros([BT, BE], tl.float32)
    for n in tl.static_range(N):
        b_weight = tl.exp(b_lses[n] - b_peak)
        p_rows = p_parts[n] + i_b * s_parts[3 * n] + i_h * s_parts[3 * n + 1] + o_t[:, None] * s_parts[3 * n + 2]
        b_part = tl.load(p_rows + o_e[None, :], mask=m_row, other=0.0)
        b_total += b_weight
        b_out += b_part.to(tl.float32) * b_weight[:, None]
    b_out = b_out / tl.where(b_total == 0.0, 1.0, b_total)[:, None]
    p_rows = p_out + ((i_b * T + o_t)[:, None] * H + i_h) * E + o_e[None, :]
    tl.store(p_rows, b_out.to(p_out.dtype.element_ty), mask=m_row)
