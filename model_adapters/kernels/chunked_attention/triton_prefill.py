"""Attention of a segment's queries to a long KV cache in Triton.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from model_adapters.kernels.chunked_attention.triton_arguments import check_attention_out, check_attention_tensors
from model_adapters.kernels.sizes import cdiv, next_power_of_2

try:
    from triton.tools.tensor_descriptor import TensorDescriptor
except ImportError:  # a version of Triton without them
    TensorDescriptor = None

HOPPER = (9, 0)
BEFORE_MULTIPLE = 128
"""Keys in tensors of their own are a multiple of every block of keys, so that each block lies in one tensor."""
DESCRIPTOR_ALIGNMENT = 16
"""Bytes to which addresses and strides of a tensor are aligned if Hopper's copy engine fetches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionLaunch:
    """Launch parameters: one program per block of queries of one head."""

    query_block: int
    key_block: int
    warps: int
    stages: int
    descriptors: bool = False
    """Whether the copy engine fetches keys and values, from descriptors of the tensors."""


def choose_attention_launch(
    *, head_size: int, query_tokens: int, dtype: torch.dtype, descriptors: bool = False
) -> AttentionLaunch:
    """Launch configuration for a shape, without autotuning, which needs a driver and time in the first call."""
    if dtype == torch.float32:
        return AttentionLaunch(query_block=32, key_block=32, warps=4, stages=1)
    if query_tokens <= 32:
        return AttentionLaunch(query_block=32, key_block=64, warps=4, stages=2)
    if head_size > 128:
        return AttentionLaunch(query_block=128, key_block=64, warps=8, stages=2)
    if descriptors:
        return AttentionLaunch(query_block=64, key_block=64, warps=4, stages=3, descriptors=True)
    return AttentionLaunch(query_block=128, key_block=128, warps=8, stages=2)


def _has_descriptors(*tensors: torch.Tensor) -> bool:
    """Whether the device's copy engine can fetch these tensors."""
    device = tensors[0].device
    if TensorDescriptor is None or device.type != "cuda" or torch.cuda.get_device_capability(device) < HOPPER:
        return False
    starts = [tensor.data_ptr() for tensor in tensors]
    strides = [stride * tensor.element_size() for tensor in tensors for stride in tensor.stride()[:-1]]
    return all(number % DESCRIPTOR_ALIGNMENT == 0 for number in (*starts, *strides))


def prefill_attention(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    *,
    query_offset: int,
    window: int | None = None,
    scale: float | None = None,
    before: tuple[torch.Tensor, torch.Tensor] | None = None,
    out_BHTE: torch.Tensor | None = None,
    launch: AttentionLaunch | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention of queries at `query_offset + i` to keys at j: `(out_BHTE, lse_BHT)`, lse in fp32 nats.

    A query sees the keys at or before its own position and, with `window`, only the last `window` of them; one that
    sees none gives zeros and -inf. H query heads share G key/value heads in groups of H / G. Keys and values may be
    views into a longer cache. The first of them, which j counts too, may be tensors of their own, `before`: a multiple
    of BEFORE_MULTIPLE and at most the query offset. Without `out_BHTE` the result is in memory as [B, T, H, E], which
    the output projection reads. Raises ValueError for shapes, dtypes, strides or devices that do not fit.

    The running softmax over blocks is FlashAttention-2's (arXiv:2307.08691).
    """
    check_attention_tensors(q_BHTD, k_BGSD, v_BGSE, window=window)
    scale = q_BHTD.shape[-1] ** -0.5 if scale is None else scale
    if scale <= 0:
        raise ValueError(f"scale is {scale}; it must be positive")
    if query_offset < 0:
        raise ValueError(f"query_offset is {query_offset}; positions start at 0")
    old_k, old_v = before or (k_BGSD, v_BGSE)
    old = 0 if before is None else old_k.shape[2]
    if before is not None:
        check_attention_tensors(q_BHTD, old_k, old_v, window=window)
        if old % BEFORE_MULTIPLE or old > query_offset or old_v.shape[1::2] != v_BGSE.shape[1::2]:
            raise ValueError(
                f"{old} keys before those of the segment; a multiple of {BEFORE_MULTIPLE} is needed, all "
                f"before query {query_offset} and with {v_BGSE.shape[1]} heads of {v_BGSE.shape[3]}"
            )
    sequences, heads, tokens, key_size = q_BHTD.shape
    key_heads, keys, value_size = v_BGSE.shape[1:]
    shape = (sequences, heads, tokens, value_size)
    out = q_BHTD.new_empty(sequences, tokens, heads, value_size).transpose(1, 2) if out_BHTE is None else out_BHTE
    check_attention_out("out", out, q_BHTD, shape)
    lse_BHT = torch.empty(sequences, heads, tokens, dtype=torch.float32, device=q_BHTD.device)
    if launch is None:
        launch = choose_attention_launch(
            head_size=max(key_size, value_size),
            query_tokens=tokens,
            dtype=q_BHTD.dtype,
            descriptors=_has_descriptors(k_BGSD, v_BGSE, old_k, old_v),
        )
    widths = [max(16, next_power_of_2(size)) for size in (key_size, value_size)]
    sides: list[Any] = [k_BGSD, v_BGSE, old_k, old_v]
    if launch.descriptors:
        # One block of keys of one head; places beyond the tensor are zeros.
        blocks = [[1, 1, launch.key_block, width] for width in widths] * 2
        sides = [TensorDescriptor(x, [*x.shape], [*x.stride()], at) for x, at in zip(sides, blocks, strict=True)]
    grid = (cdiv(tokens, launch.query_block), sequences * heads)
    _attend[grid](
        q_BHTD,
        *sides,
        out,
        lse_BHT,
        *q_BHTD.stride()[:3],
        *k_BGSD.stride()[:3],
        *v_BGSE.stride()[:3],
        *old_k.stride()[:3],
        *old_v.stride()[:3],
        *out.stride()[:3],
        tokens,
        old,
        old + keys,
        query_offset,
        0 if window is None else window,
        heads,
        heads // key_heads,
        scale / math.log(2),
        D=key_size,
        E=value_size,
        BD=widths[0],
        BE=widths[1],
        BT=launch.query_block,
        BS=launch.key_block,
        WINDOWED=window is not None,
        SPLIT=before is not None,
        DESCRIPTORS=launch.descriptors,
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
def absorb_scores(b_scores, b_v, b_out, b_peak, b_total, scale, PRECISION: tl.constexpr):
    """Add one block of scores, to be multiplied by a positive scale to base 2, to the running softmax.

    The scale is applied in the exponent, where it costs no operation of its own. Returns (out, peak, total).
    """
    b_new_peak = tl.maximum(b_peak, tl.max(b_scores, axis=1) * scale)
    # A row without keys has a peak of -inf; replacing it by 0 keeps exp2(-inf - peak) at 0.
    b_base = tl.where(b_new_peak == -float("inf"), 0.0, b_new_peak)
    b_weights = tl.exp2(b_scores * scale - b_base[:, None])
    b_rescale = tl.exp2(b_peak - b_base)
    b_total = b_total * b_rescale + tl.sum(b_weights, axis=1)
    b_out = tl.dot(b_weights.to(b_v.dtype), b_v, acc=b_out * b_rescale[:, None], input_precision=PRECISION)
    return b_out, b_new_peak, b_total


@triton.jit
def _key_rows(
    rows,
    i_b,
    i_g,
    start,
    s_row,
    keys,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    BS: tl.constexpr,
    MASKED: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
):
    """A block of keys or values from `start`: of head (i_b, i_g) of a described tensor, or from a head's address."""
    if DESCRIPTORS:
        b_rows = rows.load([i_b, i_g, start, 0]).reshape([BS, WIDTH])
    else:
        o_s, o_column = start + tl.arange(0, BS), tl.arange(0, WIDTH)
        p_rows = rows + o_s.to(tl.int64)[:, None] * s_row + o_column[None, :]
        if MASKED:
            b_rows = tl.load(p_rows, mask=(o_s < keys)[:, None] & (o_column < SIZE)[None, :], other=0.0)
        elif WIDTH > SIZE:
            b_rows = tl.load(p_rows, mask=(o_column < SIZE)[None, :], other=0.0)
        else:
            b_rows = tl.load(p_rows)
    return b_rows


@triton.jit
def _attend_keys(
    b_q,
    b_out,
    b_peak,
    b_total,
    k_rows,
    v_rows,
    i_b,
    i_g,
    s_k_s,
    s_v_s,
    first,
    stop,
    begin,
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
    DESCRIPTORS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add the keys first .. stop to the running softmax; without MASKED every query sees all of them.

    The rows hold the keys begin .. keys.
    """
    for start in range(first, stop, BS):
        b_k = _key_rows(k_rows, i_b, i_g, start - begin, s_k_s, keys - begin, D, BD, BS, MASKED, DESCRIPTORS)
        b_v = _key_rows(v_rows, i_b, i_g, start - begin, s_v_s, keys - begin, E, BE, BS, MASKED, DESCRIPTORS)
        b_scores = tl.dot(b_q, tl.trans(b_k), input_precision=PRECISION)
        if MASKED:
            o_key = start + tl.arange(0, BS)
            m_seen = (o_key[None, :] <= o_position[:, None]) & (o_key < keys)[None, :]
            if WINDOWED:
                m_seen = m_seen & (o_key[None, :] > o_position[:, None] - window)
            b_scores = tl.where(m_seen, b_scores, -float("inf"))
        b_out, b_peak, b_total = absorb_scores(b_scores, b_v, b_out, b_peak, b_total, scale, PRECISION)
    return b_out, b_peak, b_total


@triton.jit(do_not_specialize=["T", "OLD", "S", "query_offset", "window", "H", "GROUP"])
def _attend(
    p_q,
    k_rows,
    v_rows,
    k_before,
    v_before,
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
    s_k_before_b,
    s_k_before_h,
    s_k_before_s,
    s_v_before_b,
    s_v_before_h,
    s_v_before_s,
    s_out_b,
    s_out_h,
    s_out_t,
    T,
    OLD,
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
    SPLIT: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    # The last queries have the most keys and come first, so that no long program is left at the end.
    i_t = tl.num_programs(0) - 1 - tl.program_id(0)
    i_bh = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    i_first = i_t.to(tl.int64) * BT
    p_q += i_b * s_q_b + i_h * s_q_h + i_first * s_q_t
    p_out += i_b * s_out_b + i_h * s_out_h + i_first * s_out_t
    i_g = i_h // GROUP
    if not DESCRIPTORS:
        k_rows += i_b * s_k_b + i_g * s_k_h
        v_rows += i_b * s_v_b + i_g * s_v_h
        k_before += i_b * s_k_before_b + i_g * s_k_before_h
        v_before += i_b * s_v_before_b + i_g * s_v_before_h
    i_b, i_g = i_b.to(tl.int32), i_g.to(tl.int32)
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
        edge_stop = tl.minimum(all_first, stop)
        if SPLIT:
            b_out, b_peak, b_total = _attend_keys(
                b_q, b_out, b_peak, b_total, k_before, v_before, i_b, i_g, s_k_before_s, s_v_before_s,
                first, tl.minimum(edge_stop, OLD), 0, OLD,
                o_position, window, scale, D, E, BD, BE, BS, WINDOWED, True, DESCRIPTORS, PRECISION,
            )  # fmt: skip
            first = tl.maximum(first, OLD)
        b_out, b_peak, b_total = _attend_keys(
            b_q, b_out, b_peak, b_total, k_rows, v_rows, i_b, i_g, s_k_s, s_v_s, first, edge_stop, OLD, S,
            o_position, window, scale, D, E, BD, BE, BS, WINDOWED, True, DESCRIPTORS, PRECISION,
        )  # fmt: skip
    if SPLIT:
        b_out, b_peak, b_total = _attend_keys(
            b_q, b_out, b_peak, b_total, k_before, v_before, i_b, i_g, s_k_before_s, s_v_before_s,
            all_first, tl.minimum(all_stop, OLD), 0, OLD,
            o_position, window, scale, D, E, BD, BE, BS, WINDOWED, False, DESCRIPTORS, PRECISION,
        )  # fmt: skip
        all_first = tl.maximum(all_first, OLD)
    b_out, b_peak, b_total = _attend_keys(
        b_q, b_out, b_peak, b_total, k_rows, v_rows, i_b, i_g, s_k_s, s_v_s, all_first, all_stop, OLD, S,
        o_position, window, scale, D, E, BD, BE, BS, WINDOWED, False, DESCRIPTORS, PRECISION,
    )  # fmt: skip
    b_out, b_peak, b_total = _attend_keys(
        b_q, b_out, b_peak, b_total, k_rows, v_rows, i_b, i_g, s_k_s, s_v_s, all_stop, stop, OLD, S,
        o_position, window, scale, D, E, BD, BE, BS, WINDOWED, True, DESCRIPTORS, PRECISION,
    )  # fmt: skip

    b_seen = b_total > 0
    b_total = tl.where(b_seen, b_total, 1.0)
    b_lse = tl.where(b_seen, (b_peak + tl.log2(b_total)) * 0.6931471805599453, -float("inf"))
    o_e = tl.arange(0, BE)
    p_rows = p_out + o_t[:, None] * s_out_t + o_e[None, :]
    m_rows = m_t[:, None] & (o_e < E)[None, :]
    tl.store(p_rows, (b_out / b_total[:, None]).to(p_out.dtype.element_ty), mask=m_rows)
    tl.store(p_lse + i_bh * T + i_first + o_t, b_lse, mask=m_t)
