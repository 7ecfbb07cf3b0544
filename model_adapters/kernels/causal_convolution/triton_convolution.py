"""The depthwise causal convolution with SiLU in Triton: inputs are in the layout of the projection, [B, T, C].

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.packed_rows import PackedRows, check_packed, equal_rows
from model_adapters.kernels.sizes import cdiv, next_power_of_2
from model_adapters.kernels.table_of_rows import WHOLE, load_row, load_slot
from model_adapters.kernels.trial import KERNEL_DTYPES

TOKEN_BLOCK = 64
"""Tokens of one program; at least the kernel size minus one, so that only the first block reads the context."""
TOKENS_IN_FLIGHT = 16
"""Tokens that a program loads before it computes."""
SEGMENT_CHANNELS = 256
"""Channels of one program of two warps."""
CHANNEL_BLOCK = 128


def convolve_segment(
    x_BTC: torch.Tensor,
    weight_CW: torch.Tensor,
    bias_C: torch.Tensor | None,
    *,
    context_BCW: torch.Tensor,
    out_BTC: torch.Tensor | None = None,
    rows: PackedRows | None = None,
) -> torch.Tensor:
    """Like `reference.causal_convolution`, for a segment of any length; the context is updated in place.

    With `rows`, the tokens are those of several rows, B is 1, and the contexts are those of all slots. Raises
    ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    _check(x_BTC, weight_CW, bias_C, context_BCW, contexts=len(x_BTC if rows is None else context_BCW))
    out = torch.empty(x_BTC.shape, dtype=x_BTC.dtype, device=x_BTC.device) if out_BTC is None else out_BTC
    if out.shape != x_BTC.shape or out.dtype != x_BTC.dtype or out.device != x_BTC.device or out.stride(-1) != 1:
        raise ValueError(f"out is {tuple(out.shape)} {out.dtype}; {tuple(x_BTC.shape)} {x_BTC.dtype} is needed")
    sequences, tokens, channels = x_BTC.shape
    if sequences > 1 and out.stride(0) != tokens * out.stride(1):
        raise ValueError(f"out has strides {out.stride()}; its tokens must be evenly spaced over all sequences")
    if rows is None:
        rows = equal_rows(sequences, tokens, x_BTC.device, continues=True)
    elif sequences == 1:
        check_packed(rows, tokens, x_BTC.device)
    else:
        raise ValueError(f"x has {sequences} sequences; rows are in one")
    x_XC = x_BTC.flatten(0, 1)
    _convolve[(cdiv(channels, SEGMENT_CHANNELS), cdiv(rows.longest, TOKEN_BLOCK), len(rows.table_B6))](
        x_XC,
        weight_CW,
        weight_CW if bias_C is None else bias_C,
        context_BCW,
        out,
        rows.table_B6,
        x_XC.stride(0),
        *context_BCW.stride()[:2],
        out.stride(1),
        channels,
        W=weight_CW.shape[1],
        BT=TOKEN_BLOCK,
        R=TOKENS_IN_FLIGHT,
        BC=SEGMENT_CHANNELS,
        HAS_BIAS=bias_C is not None,
        num_warps=2,
    )
    if rows.any_kept:
        _keep_last[(cdiv(channels, CHANNEL_BLOCK), len(rows.table_B6))](
            x_XC,
            context_BCW,
            rows.table_B6,
            x_XC.stride(0),
            *context_BCW.stride()[:2],
            channels,
            W=weight_CW.shape[1],
            BW=next_power_of_2(weight_CW.shape[1]),
            BC=CHANNEL_BLOCK,
            num_warps=2,
        )
    return out


def convolve_token(
    x_BC: torch.Tensor, weight_CW: torch.Tensor, bias_C: torch.Tensor | None, *, context_BCW: torch.Tensor
) -> torch.Tensor:
    """One token per sequence, [B, C], in one launch, so that the step can be captured in a CUDA graph."""
    _check(x_BC[:, None], weight_CW, bias_C, context_BCW, contexts=len(x_BC))
    sequences, channels = x_BC.shape
    out = torch.empty(x_BC.shape, dtype=x_BC.dtype, device=x_BC.device)
    _convolve_token[(cdiv(channels, CHANNEL_BLOCK), sequences)](
        x_BC,
        weight_CW,
        weight_CW if bias_C is None else bias_C,
        context_BCW,
        out,
        x_BC.stride(0),
        *context_BCW.stride()[:2],
        out.stride(0),
        channels,
        W=weight_CW.shape[1],
        BW=next_power_of_2(weight_CW.shape[1]),
        BC=CHANNEL_BLOCK,
        HAS_BIAS=bias_C is not None,
        num_warps=2,
        **overlap(x_BC.device),
    )
    return out


def _check(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, context: torch.Tensor, *, contexts: int
) -> None:
    _, tokens, channels = x.shape
    if tokens == 0:
        raise ValueError("x has no tokens; the convolution needs at least one")
    if weight.dim() != 2 or weight.shape[0] != channels or not weight.is_contiguous():
        raise ValueError(f"weight has shape {tuple(weight.shape)}; contiguous ({channels}, kernel size) is needed")
    if weight.shape[1] > TOKEN_BLOCK:
        raise ValueError(f"the kernel size is {weight.shape[1]}; at most {TOKEN_BLOCK} is needed")
    if tuple(context.shape) != (contexts, channels, weight.shape[1]) or context.stride(-1) != 1:
        wanted = (contexts, channels, weight.shape[1])
        raise ValueError(f"context has shape {tuple(context.shape)}; {wanted}, contiguous in its last, is needed")
    if bias is not None and (tuple(bias.shape) != (channels,) or not bias.is_contiguous()):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; contiguous ({channels},) is needed")
    if x.dtype not in KERNEL_DTYPES or context.dtype != x.dtype:
        raise ValueError(f"x is {x.dtype}, context {context.dtype}; both must be one of bf16, fp16, fp32")
    if x.stride(-1) != 1:
        raise ValueError(f"x has stride {x.stride(-1)} in its last dimension; make it contiguous there")
    if not x.device == weight.device == context.device:
        raise ValueError(f"x is on {x.device}, weight on {weight.device}, context on {context.device}; use one device")


@triton.jit
def _silu(b_x):
    return b_x / (1.0 + tl.exp(-b_x))


# Specialised on the channels, because masked loads are 16 bytes wide only for a known multiple of 16.
@triton.jit
def _convolve(
    p_x,
    p_weight,
    p_bias,
    p_context,
    p_out,
    p_table,
    s_x_t,
    s_context_b,
    s_context_c,
    s_out_t,
    C,
    W: tl.constexpr,
    BT: tl.constexpr,
    R: tl.constexpr,
    BC: tl.constexpr,
    HAS_BIAS: tl.constexpr,
):
    """Walk along BT tokens, R at a time; the W - 1 tokens before them stay in registers, so each is read once."""
    i_b = tl.program_id(2).to(tl.int64)
    i_first = tl.program_id(1) * BT
    o_c = tl.program_id(0) * BC + tl.arange(0, BC)
    o_t = i_first + tl.zeros([BC], tl.int32)
    m_c = o_c < C
    i_row, T, _ = load_row(p_table, i_b, 0, WHOLE)
    if i_first >= T:
        return
    i_slot, continues, _ = load_slot(p_table, i_b, 0)
    # A row that starts from zeros reads no channel of the context.
    m_old = o_c < C * continues
    p_x += (i_row + i_first) * s_x_t + o_c
    p_out += (i_row + i_first) * s_out_t + o_c
    p_context += i_slot * s_context_b + o_c.to(tl.int64) * s_context_c
    b_rows = ()
    b_weights = ()
    for w in tl.static_range(W - 1):
        if i_first == 0:
            b_row = tl.load(p_context + (w + 1), mask=m_old, other=0.0)
        else:
            b_row = tl.load(p_x - (W - 1 - w) * s_x_t, mask=m_c, other=0.0)
        b_rows = b_rows + (b_row,)  # noqa: RUF005 - Triton does not unpack tuples
    for w in tl.static_range(W):
        b_weight = tl.load(p_weight + o_c * W + w, mask=m_c, other=0.0).to(tl.float32)
        b_weights = b_weights + (b_weight,)  # noqa: RUF005
    b_bias = tl.zeros([BC], tl.float32)
    if HAS_BIAS:
        b_bias = tl.load(p_bias + o_c, mask=m_c, other=0.0).to(tl.float32)
    for first in range(0, BT, R):
        # All loads of these tokens come first, so that they are under way together.
        for r in tl.static_range(R):
            b_row = tl.load(p_x + r * s_x_t, mask=m_c & (o_t + first + r < T), other=0.0)
            b_rows = b_rows + (b_row,)  # noqa: RUF005
        for r in tl.static_range(R):
            b_sum = b_bias
            for w in tl.static_range(W):
                b_sum += b_rows[r + w].to(tl.float32) * b_weights[w]
            b_out = _silu(b_sum).to(p_out.dtype.element_ty)
            tl.store(p_out + r * s_out_t, b_out, mask=m_c & (o_t + first + r < T))
        b_rows = b_rows[R:]
        p_x += R * s_x_t
        p_out += R * s_out_t


@triton.jit
def _keep_last(
    p_x,
    p_context,
    p_table,
    s_x_t,
    s_context_b,
    s_context_c,
    C,
    W: tl.constexpr,
    BW: tl.constexpr,
    BC: tl.constexpr,
):
    """Make the last W inputs of each row that is kept its context, of which a row of fewer tokens keeps a part."""
    i_b = tl.program_id(1).to(tl.int64)
    o_c = tl.program_id(0) * BC + tl.arange(0, BC)
    o_w = tl.arange(0, BW)
    i_row, T, _ = load_row(p_table, i_b, 0, WHOLE)
    i_slot, continues, keeps = load_slot(p_table, i_b, 0)
    m_c = o_c < C * keeps
    m_old = o_c < C * continues * keeps
    p_x += i_row * s_x_t
    p_context += i_slot * s_context_b
    o_t = T - W + o_w
    m_new = ((o_t >= 0) & (o_w < W))[None, :]
    p_context += o_c[:, None].to(tl.int64) * s_context_c
    b_new = tl.load(p_x + o_t[None, :].to(tl.int64) * s_x_t + o_c[:, None], mask=m_new & m_c[:, None], other=0.0)
    b_old = tl.load(p_context + (T + o_w)[None, :], mask=m_old[:, None] & (T + o_w < W)[None, :], other=0.0)
    # Each place is read elsewhere than where it is written, possibly by another thread.
    tl.debug_barrier()
    tl.store(p_context + o_w[None, :], tl.where(m_new, b_new, b_old), mask=m_c[:, None] & (o_w < W)[None, :])


@triton.jit
def _convolve_token(
    p_x,
    p_weight,
    p_bias,
    p_context,
    p_out,
    s_x_b,
    s_context_b,
    s_context_c,
    s_out_b,
    C,
    W: tl.constexpr,
    BW: tl.constexpr,
    BC: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    i_b = tl.program_id(1).to(tl.int64)
    o_c = tl.program_id(0) * BC + tl.arange(0, BC)
    o_w = tl.arange(0, BW)
    m_c = o_c < C
    p_place = p_context + i_b * s_context_b + o_c[:, None].to(tl.int64) * s_context_c + o_w[None, :]
    m_place = m_c[:, None] & (o_w < W)[None, :]
    b_weight = tl.load(p_weight + o_c[:, None] * W + o_w[None, :], mask=m_place, other=0.0).to(tl.float32)
    wait_for_earlier(OVERLAPS)
    b_new = tl.load(p_x + i_b * s_x_b + o_c, mask=m_c, other=0.0)
    b_seen = tl.load(p_place + 1, mask=m_c[:, None] & (o_w < W - 1)[None, :], other=0.0)
    b_seen = tl.where((o_w == W - 1)[None, :], b_new[:, None], b_seen)
    b_sum = tl.sum(b_weight * b_seen.to(tl.float32), axis=1)
    if HAS_BIAS:
        b_sum += tl.load(p_bias + o_c, mask=m_c, other=0.0).to(tl.float32)
    # Each place is read one to the right of where it is written, possibly by another thread.
    tl.debug_barrier()
    tl.store(p_place, b_seen, mask=m_place)
    tl.store(p_out + i_b * s_out_b + o_c, _silu(b_sum).to(p_out.dtype.element_ty), mask=m_c)
