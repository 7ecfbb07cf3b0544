"""Norms over all heads of queries and keys, and their rotation, in one launch that reads and writes each once.

In a decode step the same launch stores keys and values in the cache.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import torch
import triton
import triton.language as tl

from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import next_power_of_2
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
    _check((("q", q_BTX, q_weight_X), ("k", k_BTY, k_weight_Y)), head_size, cos_sin)
    heads = [x_BTX.shape[-1] // head_size for x_BTX in (q_BTX, k_BTY)]
    outs = [
        x_BTX.new_empty((*x_BTX.shape[:2], count, head_size))
        for count, x_BTX in zip(heads, (q_BTX, k_BTY), strict=True)
    ]
    cos, sin = cos_sin or (q_BTX, q_BTX)
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
        ROTATED=cos_sin is not None,
        **_launch(heads[0], heads[1], head_size),
        **overlap(q_BTX.device),
    )
    return outs[0], outs[1]


def norm_rotate_store(
    q_BX: torch.Tensor,
    k_BY: torch.Tensor,
    v_BZ: torch.Tensor,
    *,
    q_weight_X: torch.Tensor,
    k_weight_Y: torch.Tensor,
    epsilon: float,
    head_size: int,
    cos_sin: tuple[torch.Tensor, torch.Tensor] | None,
    places: TokenPlaces,
) -> torch.Tensor:
    """The same for one token of each of B sequences, whose keys and values are stored at once: queries [B, H, D].

    The tables are [B, D]. Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    _check((("q", q_BX[None], q_weight_X), ("k", k_BY[None], k_weight_Y)), head_size, _with_first(cos_sin))
    k_NGMD, v_NGME, position_B = places
    heads, kv_heads, sequences = q_BX.shape[-1] // head_size, k_BY.shape[-1] // head_size, len(position_B)
    if q_BX.shape[0] != sequences or v_BZ.dim() != 2 or v_BZ.shape[-1] != kv_heads * v_NGME.shape[3]:
        raise ValueError(f"q is {tuple(q_BX.shape)}, v {tuple(v_BZ.shape)}; {sequences} rows for the cache are needed")
    places.check(k_BY.view(-1, kv_heads, head_size), v_BZ.view(len(v_BZ), kv_heads, -1))
    out_BHD = q_BX.new_empty((sequences, heads, head_size))
    cos, sin = cos_sin or (q_BX, q_BX)
    _norm_rotate_store[(sequences, 3)](
        q_BX,
        k_BY,
        v_BZ,
        q_weight_X,
        k_weight_Y,
        cos,
        sin,
        out_BHD,
        k_NGMD,
        v_NGME,
        position_B,
        q_BX.stride(0),
        k_BY.stride(0),
        v_BZ.stride(0),
        *k_NGMD.stride()[:3],
        *v_NGME.stride()[:3],
        k_NGMD.shape[2],
        epsilon,
        E=v_NGME.shape[3],
        BE=next_power_of_2(v_NGME.shape[3]),
        ROTATED=cos_sin is not None,
        **_launch(heads, kv_heads, head_size),
        **overlap(q_BX.device),
    )
    return out_BHD


def _check(
    sides: tuple[tuple[str, torch.Tensor, torch.Tensor], ...],
    head_size: int,
    cos_sin: tuple[torch.Tensor, torch.Tensor] | None,
) -> None:
    (_, q_BTX, _), (_, k_BTY, _) = sides
    (sequences, tokens), queries = k_BTY.shape[:2], q_BTX.shape[1]
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


def _with_first(cos_sin: tuple[torch.Tensor, torch.Tensor] | None) -> tuple[torch.Tensor, torch.Tensor] | None:
    return None if cos_sin is None else (cos_sin[0][None], cos_sin[1][None])


def _launch(heads: int, kv_heads: int, head_size: int) -> dict[str, int]:
    """Sizes of a row and its blocks, and the warps of a program."""
    block_h, block_r = next_power_of_2(max(heads, kv_heads)), next_power_of_2(head_size // 2)
    sizes = {"H": heads, "G": kv_heads, "R": head_size // 2, "BH": block_h, "BR": block_r}
    return {**sizes, "num_warps": 4 if 2 * block_h * block_r <= 4096 else 8}


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
    i_t, i_b = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    p_table = i_b * s_table_b + i_t * 2 * R
    if tl.program_id(2) == 0:
        # Programs of tokens without a query have nothing to do.
        i_q = i_t - (T - Q)
        if i_q >= 0:
            b_weights = _weights(p_q_weight, H, R, BH, BR)
            wait_for_earlier(OVERLAPS)
            p_out = p_q_out + (i_b * Q + i_q) * H * 2 * R
            _row(p_q + i_b * s_q_b + i_q * s_q_t, b_weights, p_cos + p_table, p_sin + p_table, p_out, 2 * R, epsilon,
                 H, R, BH, BR, ROTATED)  # fmt: skip
    else:
        b_weights = _weights(p_k_weight, G, R, BH, BR)
        wait_for_earlier(OVERLAPS)
        p_out = p_k_out + (i_b * T + i_t) * G * 2 * R
        _row(p_k + i_b * s_k_b + i_t * s_k_t, b_weights, p_cos + p_table, p_sin + p_table, p_out, 2 * R, epsilon,
             G, R, BH, BR, ROTATED)  # fmt: skip


@triton.jit(do_not_specialize=["M"])
def _norm_rotate_store(
    p_q,
    p_k,
    p_v,
    p_q_weight,
    p_k_weight,
    p_cos,
    p_sin,
    p_q_out,
    p_kept_k,
    p_kept_v,
    p_position,
    s_q_b,
    s_k_b,
    s_v_b,
    s_kept_k_n,
    s_kept_k_g,
    s_kept_k_m,
    s_kept_v_n,
    s_kept_v_g,
    s_kept_v_m,
    M,
    epsilon,
    H: tl.constexpr,
    G: tl.constexpr,
    R: tl.constexpr,
    E: tl.constexpr,
    BH: tl.constexpr,
    BR: tl.constexpr,
    BE: tl.constexpr,
    ROTATED: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    i_b = tl.program_id(0).to(tl.int64)
    p_table = i_b * 2 * R
    if tl.program_id(1) == 0:
        b_weights = _weights(p_q_weight, H, R, BH, BR)
        wait_for_earlier(OVERLAPS)
        _row(p_q + i_b * s_q_b, b_weights, p_cos + p_table, p_sin + p_table, p_q_out + i_b * H * 2 * R, 2 * R, epsilon,
             H, R, BH, BR, ROTATED)  # fmt: skip
    elif tl.program_id(1) == 1:
        b_weights = _weights(p_k_weight, G, R, BH, BR)
        wait_for_earlier(OVERLAPS)
        p_out = p_kept_k + i_b * s_kept_k_n + tl.load(p_position + i_b).to(tl.int64) % M * s_kept_k_m
        _row(p_k + i_b * s_k_b, b_weights, p_cos + p_table, p_sin + p_table, p_out, s_kept_k_g, epsilon,
             G, R, BH, BR, ROTATED)  # fmt: skip
    else:
        wait_for_earlier(OVERLAPS)
        o_h, o_e = tl.arange(0, BH)[:, None], tl.arange(0, BE)[None, :]
        m_row = (o_h < G) & (o_e < E)
        p_out = p_kept_v + i_b * s_kept_v_n + tl.load(p_position + i_b).to(tl.int64) % M * s_kept_v_m
        b_v = tl.load(p_v + i_b * s_v_b + o_h * E + o_e, mask=m_row)
        tl.store(p_out + o_h.to(tl.int64) * s_kept_v_g + o_e, b_v, mask=m_row)


@triton.jit
def _weights(p_weight, N: tl.constexpr, R: tl.constexpr, BH: tl.constexpr, BR: tl.constexpr):
    """The weights of N heads' first and second halves, which may be read before the wait for earlier kernels."""
    o_h, o_r = tl.arange(0, BH)[:, None], tl.arange(0, BR)[None, :]
    m_row = (o_h < N) & (o_r < R)
    p_first = p_weight + o_h * 2 * R + o_r
    return tl.load(p_first, mask=m_row, other=0.0), tl.load(p_first + R, mask=m_row, other=0.0)


@triton.jit
def _row(
    p_x,
    b_weights,
    p_cos,
    p_sin,
    p_out,
    s_out_h,
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
    b_first *= scale * b_weights[0].to(tl.float32)
    b_second *= scale * b_weights[1].to(tl.float32)
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
    # In a cache, heads lie farther apart than 32 bits count.
    p_out = p_out + o_h.to(tl.int64) * s_out_h + o_r
    tl.store(p_out, b_first.to(p_out.dtype.element_ty), mask=m_row)
    tl.store(p_out + R, b_second.to(p_out.dtype.element_ty), mask=m_row)
