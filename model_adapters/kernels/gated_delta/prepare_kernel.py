"""The first Triton kernel of the gated delta rule's prefill: the part of all chunks that does not need the state.

triton_prefill.py describes its results for the second kernel, and launches both.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import triton
import triton.language as tl

from model_adapters.kernels.gated_delta.blocks import cut_to, dense_offsets, row_squares
from model_adapters.kernels.gated_delta.gates import load_gates
from model_adapters.kernels.table_of_rows import load_row

# Not specialised at compile time, so that a new number of heads or tokens does not recompile the kernels.
_GATE_STRIDES = ["s_decay_t", "s_decay_h", "s_beta_t", "s_beta_h"]


@triton.jit
def _load_part(p_rows, o_t, m_t, s_t, FIRST: tl.constexpr, WIDTH: tl.constexpr, SIZE: tl.constexpr):
    """Columns FIRST .. FIRST + WIDTH of the rows o_t, zeros beyond SIZE and where m_t is false."""
    o_k = FIRST + tl.arange(0, WIDTH)
    m_part = m_t[:, None]
    if FIRST + WIDTH > SIZE:
        m_part = m_part & (o_k < SIZE)[None, :]
    return tl.load(p_rows + o_t[:, None] * s_t + o_k[None, :], mask=m_part, other=0.0)


@triton.jit
def _inverse_norm(b_squares, epsilon, NORMALIZE: tl.constexpr):
    """1 / norm of each row as a power of two, by which scaling is exact, and the remaining factor in [1, 2)."""
    b_norm = tl.rsqrt(b_squares + epsilon) if NORMALIZE else tl.full(b_squares.shape, 1.0, tl.float32)
    b_bits = b_norm.to(tl.uint32, bitcast=True)
    b_power = (b_bits & 0x7F800000).to(tl.float32, bitcast=True)
    return b_power, ((b_bits & 0x007FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)


@triton.jit
def _double_blocks(
    b_inverse, b_lower, SIZE: tl.constexpr, C: tl.constexpr, HALF: tl.constexpr, PRECISION: tl.constexpr
):
    """From inverted diagonal blocks of SIZE rows to blocks of twice that: below, -inverse lower inverse."""
    o_i = tl.arange(0, C)[:, None] // SIZE
    o_j = tl.arange(0, C)[None, :] // SIZE
    m_below = (o_i == o_j + 1) & (o_j % 2 == 0)
    # The inverse has blocks on its diagonal alone, so a mask on its product with all of `lower` is one on `lower`,
    # which so lies in shared memory once for all levels.
    b_factor = b_inverse.to(tl.float16) if HALF else b_inverse
    b_product = tl.where(m_below, tl.dot(b_factor, b_lower, input_precision=PRECISION), 0.0)
    # Not accumulated in b_inverse itself, which Triton 3.6 computes incorrectly on an H100.
    return b_inverse - tl.dot(b_product.to(b_factor.dtype), b_factor, input_precision=PRECISION)


@triton.jit
def _invert_unit_lower(b_lower, C: tl.constexpr, LEVELS: tl.constexpr, HALF: tl.constexpr, PRECISION: tl.constexpr):
    """(I + b_lower)^-1 for a strictly lower triangular block of C = 2^LEVELS rows, by doubling inverted blocks.

    As exact as substitution: every intermediate is a block of the inverse itself, unlike in a power series. HALF
    takes fp16 operands, and then one Newton step X + X (I - (I + b_lower) X), which squares their relative error.
    """
    o_i = tl.arange(0, C)[:, None]
    o_j = tl.arange(0, C)[None, :]
    b_identity = tl.where(o_i == o_j, 1.0, 0.0)
    b_inverse = b_identity - tl.where(o_i // 2 == o_j // 2, b_lower, 0.0)
    if HALF:
        b_high = cut_to(b_lower, tl.float16)
        b_factor = b_high.to(tl.float16)
        b_rest = (b_lower - b_high).to(tl.float16)
    else:
        b_factor = b_lower
    for level in tl.static_range(1, LEVELS):
        b_inverse = _double_blocks(b_inverse, b_factor, 2**level, C, HALF, PRECISION)
    if HALF:
        b_inverse = cut_to(b_inverse, tl.float16)
        b_half = b_inverse.to(tl.float16)
        b_error = tl.dot(b_factor, b_half, acc=b_inverse - b_identity)
        b_error = tl.dot(b_rest, b_half, acc=b_error)
        b_inverse = tl.dot(b_half, (-b_error).to(tl.float16), acc=b_inverse)
    return b_inverse


@triton.jit
def _store_scaled(p_scaled, b_rows, b_power, o_t, FIRST: tl.constexpr, WIDTH: tl.constexpr, KEY_WIDTH: tl.constexpr):
    b_scaled = (b_rows.to(tl.float32) * b_power[:, None]).to(p_scaled.dtype.element_ty)
    tl.store(p_scaled + dense_offsets(o_t, FIRST, WIDTH, KEY_WIDTH), b_scaled)


@triton.jit
def _products(b_q, b_k, b_kk, b_qk, PRECISION: tl.constexpr):
    b_kk = tl.dot(b_k, tl.trans(b_k), acc=b_kk, input_precision=PRECISION)
    return b_kk, tl.dot(b_q, tl.trans(b_k), acc=b_qk, input_precision=PRECISION)


@triton.jit(do_not_specialize=["START", "PIECE", "N", "H", "GROUP", *_GATE_STRIDES])
def prepare_chunks(
    p_q,
    p_k,
    p_decay,
    p_beta,
    p_decay_rate_log,
    p_decay_bias,
    p_scaled_q,
    p_scaled_k,
    p_inverse,
    p_attention,
    p_rows,
    p_table,
    s_q_t,
    s_q_h,
    s_k_t,
    s_k_h,
    s_decay_t,
    s_decay_h,
    s_beta_t,
    s_beta_h,
    START,
    PIECE,
    N,
    H,
    GROUP,
    scale,
    beta_scale,
    epsilon,
    K: tl.constexpr,
    KEY_1: tl.constexpr,
    KEY_2: tl.constexpr,
    KEY_3: tl.constexpr,
    C: tl.constexpr,
    LEVELS: tl.constexpr,
    NORMALIZE: tl.constexpr,
    RAW_GATES: tl.constexpr,
    HALF: tl.constexpr,
    PRECISION: tl.constexpr,
):
    KEY_WIDTH: tl.constexpr = KEY_1 + KEY_2 + KEY_3
    i_bh = tl.program_id(0).to(tl.int64)
    i_chunk = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    i_first = i_chunk * C
    i_row, T, i_row_chunk = load_row(p_table, i_b, START, PIECE)
    if i_first >= T:
        return
    # Place of this chunk's results, and of its rows of q and k, which value heads may share.
    i_place = i_h * N + i_row_chunk + i_chunk
    i_key_place = (i_h // GROUP) * N + i_row_chunk + i_chunk
    o_t = tl.arange(0, C)
    m_t = o_t < T - i_first
    i_token = i_row + i_first
    p_q += (i_h // GROUP) * s_q_h + i_token * s_q_t
    p_k += (i_h // GROUP) * s_k_h + i_token * s_k_t

    b_log_decay, b_beta = load_gates(
        p_decay + i_h * s_decay_h + i_token * s_decay_t + o_t * s_decay_t,
        p_beta + i_h * s_beta_h + i_token * s_beta_t + o_t * s_beta_t,
        m_t,
        p_decay_rate_log + i_h,
        p_decay_bias + i_h,
        beta_scale,
        RAW_GATES,
    )
    b_k_1 = _load_part(p_k, o_t, m_t, s_k_t, 0, KEY_1, K)
    b_q_1 = _load_part(p_q, o_t, m_t, s_q_t, 0, KEY_1, K)
    b_k_squares, b_q_squares = row_squares(b_k_1), row_squares(b_q_1)
    if KEY_2 > 0:
        b_k_2 = _load_part(p_k, o_t, m_t, s_k_t, KEY_1, KEY_2, K)
        b_q_2 = _load_part(p_q, o_t, m_t, s_q_t, KEY_1, KEY_2, K)
        b_k_squares += row_squares(b_k_2)
        b_q_squares += row_squares(b_q_2)
    if KEY_3 > 0:
        b_k_3 = _load_part(p_k, o_t, m_t, s_k_t, KEY_1 + KEY_2, KEY_3, K)
        b_q_3 = _load_part(p_q, o_t, m_t, s_q_t, KEY_1 + KEY_2, KEY_3, K)
        b_k_squares += row_squares(b_k_3)
        b_q_squares += row_squares(b_q_3)
    b_k_power, b_k_rest = _inverse_norm(b_k_squares, epsilon, NORMALIZE)
    b_q_power, b_q_rest = _inverse_norm(b_q_squares, epsilon, NORMALIZE)
    # Value heads that share a key head share its rows.
    if i_h % GROUP == 0:
        i_rows = i_key_place * C * KEY_WIDTH
        _store_scaled(p_scaled_k + i_rows, b_k_1, b_k_power, o_t, 0, KEY_1, KEY_WIDTH)
        _store_scaled(p_scaled_q + i_rows, b_q_1, b_q_power, o_t, 0, KEY_1, KEY_WIDTH)
        if KEY_2 > 0:
            _store_scaled(p_scaled_k + i_rows, b_k_2, b_k_power, o_t, KEY_1, KEY_2, KEY_WIDTH)
            _store_scaled(p_scaled_q + i_rows, b_q_2, b_q_power, o_t, KEY_1, KEY_2, KEY_WIDTH)
        if KEY_3 > 0:
            _store_scaled(p_scaled_k + i_rows, b_k_3, b_k_power, o_t, KEY_1 + KEY_2, KEY_3, KEY_WIDTH)
            _store_scaled(p_scaled_q + i_rows, b_q_3, b_q_power, o_t, KEY_1 + KEY_2, KEY_3, KEY_WIDTH)
    b_kk = tl.zeros([C, C], tl.float32)
    b_qk = tl.zeros([C, C], tl.float32)
    b_kk, b_qk = _products(b_q_1, b_k_1, b_kk, b_qk, PRECISION)
    if KEY_2 > 0:
        b_kk, b_qk = _products(b_q_2, b_k_2, b_kk, b_qk, PRECISION)
    if KEY_3 > 0:
        b_kk, b_qk = _products(b_q_3, b_k_3, b_kk, b_qk, PRECISION)
    b_k_norm = b_k_power * b_k_rest

    b_since_start = tl.cumsum(b_log_decay, axis=0)
    b_whole = tl.sum(b_log_decay, axis=0)
    b_from_start = tl.exp(b_since_start)
    p_rows += i_place * 4 * C
    tl.store(p_rows + o_t, b_from_start * b_k_rest)
    tl.store(p_rows + C + o_t, b_from_start * b_q_rest * scale)
    tl.store(p_rows + 2 * C + o_t, tl.exp(b_whole - b_since_start) * b_k_rest)
    tl.store(p_rows + 3 * C + o_t, tl.exp(b_whole) + tl.zeros([C], tl.float32))

    m_causal = o_t[:, None] >= o_t[None, :]
    # Above the diagonal the difference is positive and may overflow: masked before the exponential.
    b_decay = tl.exp(tl.where(m_causal, b_since_start[:, None] - b_since_start[None, :], -float("inf")))
    b_decay *= b_k_norm[None, :]
    o_square = i_place * C * C
    o_entry = o_t[:, None] * C + o_t[None, :]
    # Stored now to free registers for the inversion.
    b_attention = b_qk * b_decay * (b_q_power * b_q_rest * scale)[:, None]
    tl.store(p_attention + o_square + o_entry, b_attention.to(p_attention.dtype.element_ty))
    b_lower = tl.where(o_t[:, None] > o_t[None, :], b_kk * b_decay * (b_beta * b_k_norm)[:, None], 0.0)
    b_inverse = _invert_unit_lower(b_lower, C, LEVELS, HALF, PRECISION) * b_beta[None, :]
    tl.store(p_inverse + o_square + o_entry, b_inverse.to(p_inverse.dtype.element_ty))
