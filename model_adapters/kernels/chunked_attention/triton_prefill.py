"""Attention of a segment's queries to a long KV cache in Triton.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from model_adapters.kernels.chunked_attention.triton_arguments import check_attention_out, check_attention_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionLaunch:
    """Launch parameters: one program per block of queries of one head."""

    query_block: int
    key_block: int
    warps: int
    stages: int


def choose_attention_launch(*, head_size: int, query_tokens: int, dtype: torch.dtype) -> AttentionLaunch:
    """Launch configuration for a shape, without autotuning, which needs a driver and time in the first call."""
    if dtype == torch.float32:
        return AttentionLaunch(query_block=32, key_block=32, warps=4, stages=1)
    if query_tokens <= 32:
        return AttentionLaunch(query_block=32, key_block=64, warps=4, stages=2)
    if head_size > 128:
        return AttentionLaunch(query_block=128, key_block=64, warps=8, stages=2)
    return AttentionLaunch(query_block=128, key_block=128, warps=8, stages=2)


def prefill_attention(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    *,
    query_offset: int,
    window: int | None = None,
    scale: float | None = None,
    out_BHTE: torch.Tensor | None = None,
    launch: AttentionLaunch | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention of queries at `query_offset + i` to keys at j: `(out_BHTE, lse_BHT)`, lse in fp32 nats.

    A query sees the keys at or before its own position and, with `window`, only the last `window` of them; one that
    sees none gives zeros and -inf. H query heads share G key/value heads in groups of H / G. Keys and values may be
    views into a longer cache. Without `out_BHTE` the result is in memory as [B, T, H, E], the order that the output
    projection reads. Raises ValueError for shapes, dtypes, strides or devices that do not fit.

    The running softmax over blocks is FlashAttention-2's (arXiv:2307.08691).
    """
    check_attention_tensors(q_BHTD, k_BGSD, v_BGSE, window=window)
    if query_offset < 0:
        raise ValueError(f"query_offset is {query_offset}; positions start at 0")
    sequences, heads, tokens, key_size = q_BHTD.shape
    key_heads, keys, value_size = v_BGSE.shape[1:]
    shape = (sequences, heads, tokens, value_size)
    out = q_BHTD.new_empty(sequences, tokens, heads, value_size).transpose(1, 2) if out_BHTE is None else out_BHTE
    check_attention_out("out", out, q_BHTD, shape)
    lse_BHT = torch.empty(sequences, heads, tokens, dtype=torch.float32, device=q_BHTD.device)
    if launch is None:
        launch = choose_attention_launch(head_size=max(key_size, value_size), query_tokens=tokens, dtype=q_BHTD.dtype)
    grid = (triton.cdiv(tokens, launch.query_block), sequences * heads)
    _attend[grid](
        q_BHTD,
        k_BGSD,
        v_BGSE,
        out,
        lse_BHT,
        *q_BHTD.stride()[:3],
        *k_BGSD.stride()[:3],
        *v_BGSE.stride()[:3],
        *out.stride()[:3],
        tokens,
        keys,
        query_offset,
        0 if window is None else window,
        heads,
        heads // key_heads,
        (key_size**-0.5 if scale is None else scale) / math.log(2),
        D=key_size,
        E=value_size,
        BD=max(16, triton.next_power_of_2(key_size)),
        BE=max(16, triton.next_power_of_2(value_size)),
        BT=launch.query_block,
        BS=launch.key_block,
        WINDOWED=window is not None,
        PRECISION="tf32x3" if q_BHTD.dtype == torch.float32 else "tf32",
        num_warps=launch.warps,
        num_stages=launch.stages,
    )
    return out, lse_BHT


@triton.jit
def load_rows(p_rows, m_row, WIDTH: tl.constexpr, SIZE: tl.constexpr):
    """WIDTH contiguous elements from each address, zeros beyond SIZE and where m_row is false."""
    o_column = tl.arange(0, WIDTH)
    m_block = m_row[:, None]
    if WIDTH > SIZE:
        m_block = m_block & (o_column < SIZE)[None, :]
    return tl.load(p_rows[:, None] + o_column[None, :], mask=m_block, other=0.0)


@triton.jit
def absorb_scores(b_scores, b_v, b_out, b_peak, b_total, PRECISION: tl.constexpr):
    """Add one block of base-2 scores to the running softmax; returns (out, peak, total)."""
    b_new_peak = tl.maximum(b_peak, tl.max(b_scores, axis=1))
    # A row without keys has a peak of -inf; replacing it by 0 keeps exp2(-inf - peak) at 0.
    b_base = tl.where(b_new_peak == -float("inf"), 0.0, b_new_peak)
    b_weights = tl.exp2(b_scores - b_base[:, None])
    b_rescale = tl.exp2(b_peak - b_base)
    b_total = b_total * b_rescale + tl.sum(b_weights, axis=1)
    b_out = tl.dot(b_weights.to(b_v.dtype), b_v, acc=b_out * b_rescale[:, None], input_precision=PRECISION)
    return b_out, b_new_peak, b_total


@triton.jit
def _attend_keys(
    b_q,
    b_out,
    b_peak,
    b_total,
    p_k,
    p_v,
    s_k_s,
    s_v_s,
    first,
    stop,
    keys,
    o_position,
    window,
    scale,
    D: tl.constexpr,
    E: tl.constexpr,
    BD: tl.constexpr,
    BE: tl.constexpr,
    BS: tl.constexpr,
    WINDOWED: tl.constexpr,
    MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add the keys first .. stop to the running softmax; without MASKED every query sees all of them."""
    o_s = tl.arange(0, BS)
    p_k += first.to(tl.int64) * s_k_s
    p_v += first.to(tl.int64) * s_v_s
    for start in range(first, stop, BS):
        m_key = o_s < keys - start
        b_k = load_rows(p_k + o_s * s_k_s, m_key, BD, D)
        b_v = load_rows(p_v + o_s * s_v_s, m_key, BE, E)
        b_scores = tl.dot(b_q, tl.trans(b_k), input_precision=PRECISION) * scale
        if MASKED:
            o_key = start + o_s
            m_seen = (o_key[None, :] <= o_position[:, None]) & (o_key < keys)[None, :]
            if WINDOWED:
                m_seen = m_seen & (o_key[None, :] > o_position[:, None] - window)
            b_scores = tl.where(m_seen, b_scores, -float("inf"))
        b_out, b_peak, b_total = absorb_scores(b_scores, b_v, b_out, b_peak, b_total, PRECISION)
        p_k += BS * s_k_s
        p_v += BS * s_v_s
    return b_out, b_peak, b_total


@triton.jit(do_not_specialize=["T", "S", "query_offset", "window", "H", "GROUP"])
def _attend(
    p_q,
    p_k,
    p_v,
    p_out,
    p_lse,
    s_q_b,
    s_q_h,
    s_q_t,
    s_k_b,
    s_k_h,
    s_k_s,
    s_v_b,
    s_v_h,
    s_v_s,
    s_out_b,
    s_out_h,
    s_out_t,
    T,
    S,
    query_offset,
    window,
    H,
    GROUP,
    scale,
    D: tl.constexpr,
    E: tl.constexpr,
    BD: tl.constexpr,
    BE: tl.constexpr,
    BT: tl.constexpr,
    BS: tl.constexpr,
    WINDOWED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    # The last queries have the most keys and come first, so that no long program is left at the end.
    i_t = tl.num_programs(0) - 1 - tl.program_id(0)
    i_bh = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    i_first = i_t.to(tl.int64) * BT
    p_q += i_b * s_q_b + i_h * s_q_h + i_first * s_q_t
    p_out += i_b * s_out_b + i_h * s_out_h + i_first * s_out_t
    p_k += i_b * s_k_b + (i_h // GROUP) * s_k_h
    p_v += i_b * s_v_b + (i_h // GROUP) * s_v_h
    o_t = tl.arange(0, BT)
    m_t = o_t < T - i_t * BT
    o_position = query_offset + i_t * BT + o_t
    b_q = load_rows(p_q + o_t * s_q_t, m_t, BD, D)
    b_out = tl.zeros([BT, BE], tl.float32)
    b_peak = tl.full([BT], -float("inf"), tl.float32)
    b_total = tl.zeros([BT], tl.float32)

    # first .. stop are the keys that some query sees. Those in between that every query sees need no mask.
    lowest = query_offset + i_t * BT
    stop = tl.minimum(S, lowest + BT)
    all_stop = tl.minimum(S, lowest + 1) // BS * BS
    first = tl.minimum(0, S)
    all_first = first
    if WINDOWED:
        first = tl.maximum(0, lowest - window + 1) // BS * BS
        all_first = tl.cdiv(tl.maximum(0, lowest + BT - window), BS) * BS
        all_first = tl.minimum(all_first, tl.maximum(first, tl.cdiv(stop, BS) * BS))
        all_stop = tl.maximum(all_stop, all_first)
        b_out, b_peak, b_total = _attend_keys(
            b_q, b_out, b_peak, b_total, p_k, p_v, s_k_s, s_v_s, first, tl.minimum(all_first, stop), S, o_position,
            window, scale, D, E, BD, BE, BS, WINDOWED, True, PRECISION,
        )  # fmt: skip
    b_out, b_peak, b_total = _attend_keys(
        b_q, b_out, b_peak, b_total, p_k, p_v, s_k_s, s_v_s, all_first, all_stop, S, o_position,
        window, scale, D, E, BD, BE, BS, WINDOWED, False, PRECISION,
    )  # fmt: skip
    b_out, b_peak, b_total = _attend_keys(
        b_q, b_out, b_peak, b_total, p_k, p_v, s_k_s, s_v_s, all_stop, stop, S, o_position,
        window, scale, D, E, BD, BE, BS, WINDOWED, True, PRECISION,
    )  # fmt: skip

    b_seen = b_total > 0
    b_total = tl.where(b_seen, b_total, 1.0)
    b_lse = tl.where(b_seen, (b_peak + tl.log2(b_total)) * 0.6931471805599453, -float("inf"))
    o_e = tl.arange(0, BE)
    p_rows = p_out + o_t[:, None] * s_out_t + o_e[None, :]
    m_rows = m_t[:, None] & (o_e < E)[None, :]
    tl.store(p_rows, (b_out / b_total[:, None]).to(p_out.dtype.element_ty), mask=m_rows)
    tl.store(p_lse + i_bh * T + i_first + o_t, b_lse, mask=m_t)
