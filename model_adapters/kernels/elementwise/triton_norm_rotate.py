"""Norms over all heads of queries and keys, and their rotation, in one launch that reads and writes each once.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.trial import KERNEL_DTYPES

WIDEST = 16_384


def norm_rotate(
    q_BTX: torch.Tensor,
    k_BTY: torch.Tensor,
    *,
    q_weight_X: torch.Tensor,
    k_weight_Y: torch.Tensor,
    epsilon: float,
    head_size: int,
    cos_sin: tuple[torch.Tensor, torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide q and k by the RMS over all heads, multiply by a weight, and rotate them if tables are given.

    X = H × D features of H heads in, [B, T, H, D] out, and the same for k with its own number of heads. q may be of the
    last tokens only. Inputs may be slices of wider rows. The tables are [B or 1, T, D]. Zhang and Sennrich
    (arXiv:1910.07467), Su et al. (arXiv:2104.09864). Raises ValueError for shapes, dtypes, strides or devices that do
    not fit.
    """
    (sequences, tokens), queries = k_BTY.shape[:2], q_BTX.shape[1]
    sides = (("q", q_BTX, q_weight_X), ("k", k_BTY, k_weight_Y))
    for name, x_BTX, weight_X in sides:
        size = x_BTX.shape[-1]
        fits = x_BTX.shape[0] == sequences and queries <= tokens
        if not fits or size % head_size or head_size % 2 or size > WIDEST:
            raise ValueError(f"{name} is {tuple(x_BTX.shape)}; heads of {head_size} for k's tokens are needed")
        if weight_X.shape != (size,) or not weight_X.is_contiguous() or weight_X.device != x_BTX.device:
            raise ValueError(f"{name}'s weight is {tuple(weight_X.shape)} on {weight_X.device}; ({size},) is needed")
        if x_BTX.stride(-1) != 1 or x_BTX.dtype not in KERNEL_DTYPES or x_BTX.dtype != q_BTX.dtype:
            raise ValueError(f"{name} is {x_BTX.dtype}, strides {x_BTX.stride()}; contiguous features are needed")
    for table in cos_sin or ():
        if table.shape[0] not in (1, sequences) or table.shape[1:] != (tokens, head_size) or not table.is_contiguous():
            raise ValueError(f"a table is {tuple(table.shape)}; contiguous (1, {tokens}, {head_size}) is needed")
    heads = [x_BTX.shape[-1] // head_size for _, x_BTX, _ in sides]
    outs = [
        x_BTX.new_empty((*x_BTX.shape[:2], count, head_size)) for count, (_, x_BTX, _) in zip(heads, sides, strict=True)
    ]
    cos, sin = cos_sin or (q_BTX, q_BTX)
    width = triton.next_power_of_2(max(heads)) * triton.next_power_of_2(head_size)
    _norm_rotate[(tokens, sequences, 2)](
        q_BTX,
        k_BTY,
        q_weight_X,
        k_weight_Y,
        cos,
        sin,
        *outs,
        *q_BTX.stride()[:2],
        *k_BTY.stride()[:2],
        0 if cos.shape[0] == 1 else tokens * head_size,
        tokens,
        queries,
        epsilon,
        H=heads[0],
        G=heads[1],
        R=head_size // 2,
        BH=triton.next_power_of_2(max(heads)),
        BR=triton.next_power_of_2(head_size // 2),
        ROTATED=cos_sin is not None,
        num_warps=4 if width <= 4096 else 8,
        **overlap(q_BTX.device),
    )
    return outs[0], outs[1]


@triton.jit(do_not_specialize=["T", "Q"])
def _norm_rotate(
    p_q,
    p_k,
    p_q_weight,
    p_k_weight,
    p_cos,
    p_sin,
    p_q_out,
    p_k_out,
    s_q_b,
    s_q_t,
    s_k_b,
    s_k_t,
    s_table_b,
    T,
    Q,
    epsilon,
    H: tl.constexpr,
    G: tl.constexpr,
    R: tl.constexpr,
    BH: tl.constexpr,
    BR: tl.constexpr,
    ROTATED: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    wait_for_earlier(OVERLAPS)
    i_t, i_b = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    p_table = i_b * s_table_b + i_t * 2 * R
    if tl.program_id(2) == 0:
        # Programs of tokens without a query have nothing to do.
        i_q = i_t - (T - Q)
        if i_q >= 0:
            p_x = p_q + i_b * s_q_b + i_q * s_q_t
            _row(p_x, p_q_weight, p_cos + p_table, p_sin + p_table, p_q_out + (i_b * Q + i_q) * H * 2 * R, epsilon,
                 H, R, BH, BR, ROTATED)  # fmt: skip
    else:
        p_x = p_k + i_b * s_k_b + i_t * s_k_t
        _row(p_x, p_k_weight, p_cos + p_table, p_sin + p_table, p_k_out + (i_b * T + i_t) * G * 2 * R, epsilon,
             G, R, BH, BR, ROTATED)  # fmt: skip


@triton.jit
def _row(
    p_x,
    p_weight,
    p_cos,
    p_sin,
    p_out,
    epsilon,
    N: tl.constexpr,
    R: tl.constexpr,
    BH: tl.constexpr,
    BR: tl.constexpr,
    ROTATED: tl.constexpr,
):
    """One token's N heads of 2 R features, as their first and second halves."""
    o_h, o_r = tl.arange(0, BH)[:, None], tl.arange(0, BR)[None, :]
    m_row = (o_h < N) & (o_r < R)
    o_first = o_h * 2 * R + o_r
    b_first = tl.load(p_x + o_first, mask=m_row, other=0.0).to(tl.float32)
    b_second = tl.load(p_x + o_first + R, mask=m_row, other=0.0).to(tl.float32)
    squares = tl.sum(tl.sum(b_first * b_first + b_second * b_second, axis=1), axis=0)
    scale = tl.rsqrt(squares / (N * 2 * R) + epsilon)
    b_first *= scale * tl.load(p_weight + o_first, mask=m_row, other=0.0).to(tl.float32)
    b_second *= scale * tl.load(p_weight + o_first + R, mask=m_row, other=0.0).to(tl.float32)
    if ROTATED:
        # Rounded in between, as by two passes.
        b_first = b_first.to(p_out.dtype.element_ty).to(tl.float32)
        b_second = b_second.to(p_out.dtype.element_ty).to(tl.float32)
        m_r = o_r < R
        b_turned = b_first * tl.load(p_cos + o_r, mask=m_r, other=0.0).to(tl.float32)
        b_turned -= b_second * tl.load(p_sin + o_r, mask=m_r, other=0.0).to(tl.float32)
        b_second = b_second * tl.load(p_cos + o_r + R, mask=m_r, other=0.0).to(tl.float32)
        b_second += b_first * tl.load(p_sin + o_r + R, mask=m_r, other=0.0).to(tl.float32)
        b_first = b_turned
    tl.store(p_out + o_first, b_first.to(p_out.dtype.element_ty), mask=m_row)
    tl.store(p_out + o_first + R, b_second.to(p_out.dtype.element_ty), mask=m_row)
