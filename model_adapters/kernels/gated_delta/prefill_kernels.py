"""The two Triton kernels of the gated delta rule's prefill; triton_prefill.py says what each does and launches them.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import triton
import triton.language as tl

from model_adapters.kernels.gated_delta.gates import load_gates

# Left out of compile-time specialisation: a new number of heads or tokens must not compile the kernels again.
_GATE_STRIDES = ["s_decay_b", "s_decay_t", "s_decay_h", "s_beta_b", "s_beta_t", "s_beta_h"]


@triton.jit
def _load_part(p_rows, o_t, m_t, s_t, FIRST: tl.constexpr, WIDTH: tl.constexpr, SIZE: tl.constexpr):
    """Columns FIRST .. FIRST + WIDTH of the rows o_t, zeros beyond SIZE and where m_t is false."""
    o_k = FIRST + tl.arange(0, WIDTH)
    m_part = m_t[:, None]
    if FIRST + WIDTH > SIZE:
        m_part = m_part & (o_k < SIZE)[None, :]
    return tl.load(p_rows + o_t[:, None] * s_t + o_k[None, :], mask=m_part, other=0.0)


@triton.jit
def _cut(b_wide, dtype: tl.constexpr):
    """fp32 values without the bits that a 16-bit format has no room for, still in fp32.

    Cut off rather than rounded: a mask is one instruction at full speed, where rounding and widening again goes
    through a unit that converts 16 values a cycle.
    """
    MASK: tl.constexpr = 0xFFFF0000 if dtype == tl.bfloat16 else 0xFFFFE000
    return (b_wide.to(tl.uint32, bitcast=True) & MASK).to(tl.float32, bitcast=True)


@triton.jit
def _inverse_norm(b_squares, epsilon, NORMALIZE: tl.constexpr):
    """1 / norm of each row as a power of two, with which rows stay exact, and the rest, in [1, 2)."""
    b_norm = tl.rsqrt(b_squares + epsilon) if NORMALIZE else tl.full(b_squares.shape, 1.0, tl.float32)
    b_bits = b_norm.to(tl.uint32, bitcast=True)
    b_power = (b_bits & 0x7F800000).to(tl.float32, bitcast=True)
    return b_power, ((b_bits & 0x007FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)


@triton.jit
def _row_squares(b_rows):
    b_wide = b_rows.to(tl.float32)
    return tl.sum(b_wide * b_wide, axis=1)


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
        b_high = _cut(b_lower, tl.float16)
        b_factor = b_high.to(tl.float16)
        b_rest = (b_lower - b_high).to(tl.float16)
    else:
        b_factor = b_lower
    for level in tl.static_range(1, LEVELS):
        b_inverse = _double_blocks(b_inverse, b_factor, 2**level, C, HALF, PRECISION)
    if HALF:
        b_inverse = _cut(b_inverse, tl.float16)
        b_half = b_inverse.to(tl.float16)
        b_error = tl.dot(b_factor, b_half, acc=b_inverse - b_identity)
        b_error = tl.dot(b_rest, b_half, acc=b_error)
        b_inverse = tl.dot(b_half, (-b_error).to(tl.float16), acc=b_inverse)
    return b_inverse


@triton.jit
def _dense(o_rows, FIRST: tl.constexpr, WIDTH: tl.constexpr, KEY_WIDTH: tl.constexpr):
    """Offsets of columns FIRST .. FIRST + WIDTH of the rows of a block without gaps."""
    return o_rows[:, None] * KEY_WIDTH + FIRST + tl.arange(0, WIDTH)[None, :]


@triton.jit
def _store_scaled(p_scaled, b_rows, b_power, o_t, FIRST: tl.constexpr, WIDTH: tl.constexpr, KEY_WIDTH: tl.constexpr):
    b_scaled = (b_rows.to(tl.float32) * b_power[:, None]).to(p_scaled.dtype.element_ty)
    tl.store(p_scaled + _dense(o_t, FIRST, WIDTH, KEY_WIDTH), b_scaled)


@triton.jit
def _products(b_q, b_k, b_kk, b_qk, PRECISION: tl.constexpr):
    b_kk = tl.dot(b_k, tl.trans(b_k), acc=b_kk, input_precision=PRECISION)
    return b_kk, tl.dot(b_q, tl.trans(b_k), acc=b_qk, input_precision=PRECISION)


@triton.jit(do_not_specialize=["T", "N", "H", "GROUP", *_GATE_STRIDES])
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
    s_q_b,
    s_q_t,
    s_q_h,
    s_k_b,
    s_k_t,
    s_k_h,
    s_decay_b,
    s_decay_t,
    s_decay_h,
    s_beta_b,
    s_beta_t,
    s_beta_h,
    T,
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
    o_t = tl.arange(0, C)
    m_t = o_t < T - i_first
    p_q += i_b * s_q_b + (i_h // GROUP) * s_q_h + i_first * s_q_t
    p_k += i_b * s_k_b + (i_h // GROUP) * s_k_h + i_first * s_k_t

    b_log_decay, b_beta = load_gates(
        p_decay + i_b * s_decay_b + i_h * s_decay_h + i_first * s_decay_t + o_t * s_decay_t,
        p_beta + i_b * s_beta_b + i_h * s_beta_h + i_first * s_beta_t + o_t * s_beta_t,
        m_t,
        p_decay_rate_log + i_h,
        p_decay_bias + i_h,
        beta_scale,
        RAW_GATES,
    )
    b_k_1 = _load_part(p_k, o_t, m_t, s_k_t, 0, KEY_1, K)
    b_q_1 = _load_part(p_q, o_t, m_t, s_q_t, 0, KEY_1, K)
    b_k_squares, b_q_squares = _row_squares(b_k_1), _row_squares(b_q_1)
    if KEY_2 > 0:
        b_k_2 = _load_part(p_k, o_t, m_t, s_k_t, KEY_1, KEY_2, K)
        b_q_2 = _load_part(p_q, o_t, m_t, s_q_t, KEY_1, KEY_2, K)
        b_k_squares += _row_squares(b_k_2)
        b_q_squares += _row_squares(b_q_2)
    if KEY_3 > 0:
        b_k_3 = _load_part(p_k, o_t, m_t, s_k_t, KEY_1 + KEY_2, KEY_3, K)
        b_q_3 = _load_part(p_q, o_t, m_t, s_q_t, KEY_1 + KEY_2, KEY_3, K)
        b_k_squares += _row_squares(b_k_3)
        b_q_squares += _row_squares(b_q_3)
    b_k_power, b_k_rest = _inverse_norm(b_k_squares, epsilon, NORMALIZE)
    b_q_power, b_q_rest = _inverse_norm(b_q_squares, epsilon, NORMALIZE)
    # Value heads that share a key head share its rows.
    if i_h % GROUP == 0:
        i_rows = ((i_bh // GROUP) * N + i_chunk) * C * KEY_WIDTH
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
    p_rows += (i_bh * N + i_chunk) * 4 * C
    tl.store(p_rows + o_t, b_from_start * b_k_rest)
    tl.store(p_rows + C + o_t, b_from_start * b_q_rest * scale)
    tl.store(p_rows + 2 * C + o_t, tl.exp(b_whole - b_since_start) * b_k_rest)
    tl.store(p_rows + 3 * C + o_t, tl.exp(b_whole) + tl.zeros([C], tl.float32))

    m_causal = o_t[:, None] >= o_t[None, :]
    # Above the diagonal the difference is positive and may overflow: masked before the exponential.
    b_decay = tl.exp(tl.where(m_causal, b_since_start[:, None] - b_since_start[None, :], -float("inf")))
    b_decay *= b_k_norm[None, :]
    o_square = (i_bh * N + i_chunk) * C * C
    o_entry = o_t[:, None] * C + o_t[None, :]
    # Out of the registers before the inversion needs them.
    b_attention = b_qk * b_decay * (b_q_power * b_q_rest * scale)[:, None]
    tl.store(p_attention + o_square + o_entry, b_attention.to(p_attention.dtype.element_ty))
    b_lower = tl.where(o_t[:, None] > o_t[None, :], b_kk * b_decay * (b_beta * b_k_norm)[:, None], 0.0)
    b_inverse = _invert_unit_lower(b_lower, C, LEVELS, HALF, PRECISION) * b_beta[None, :]
    tl.store(p_inverse + o_square + o_entry, b_inverse.to(p_inverse.dtype.element_ty))


@triton.jit
def _state_offsets(o_v, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr):
    o_k = FIRST + tl.arange(0, WIDTH)
    return o_k[None, :] * V + o_v[:, None], (o_k < K)[None, :] & (o_v < V)[:, None]


@triton.jit
def _load_state(
    p_state, o_v, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr, HAS_STATE: tl.constexpr
):
    """One part of the state, zeros where there is none yet, and the squares of its rows."""
    o_state, m_state = _state_offsets(o_v, FIRST, WIDTH, K, V)
    b_state = tl.load(p_state + o_state, mask=m_state, other=0.0) if HAS_STATE else tl.zeros(o_state.shape, tl.float32)
    return b_state, _row_squares(b_state)


@triton.jit
def _store_state(p_state, b_state, o_v, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr):
    o_state, m_state = _state_offsets(o_v, FIRST, WIDTH, K, V)
    tl.store(p_state + o_state, b_state, mask=m_state)


@triton.jit
def _range_scale(b_ceiling):
    """A power of two that takes what is at most b_ceiling below 2^14, and its inverse.

    For ceilings from 2^-60 to 2^66, so that no quotient of two of these powers leaves the range of fp32.
    """
    b_exponent = 267 - (tl.clamp(b_ceiling, 2.0**-60, 2.0**66).to(tl.uint32, bitcast=True) >> 23)
    return (b_exponent << 23).to(tl.float32, bitcast=True), ((254 - b_exponent) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _read_state(
    b_state, p_q, p_k, b_recalled, b_out, o_t,
    FIRST: tl.constexpr, WIDTH: tl.constexpr, KEY_WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What the state, transposed, holds at a chunk's keys and queries, added up over the parts of the key size."""
    b_k = tl.load(p_k + _dense(o_t, FIRST, WIDTH, KEY_WIDTH))
    b_q = tl.load(p_q + _dense(o_t, FIRST, WIDTH, KEY_WIDTH))
    b_state = b_state.to(b_k.dtype)
    b_recalled = tl.dot(b_state, tl.trans(b_k), acc=b_recalled, input_precision=PRECISION)
    b_out = tl.dot(b_state, tl.trans(b_q), acc=b_out, input_precision=PRECISION)
    return b_k, b_recalled, b_out


@triton.jit(do_not_specialize=["T", "N", "H", "GROUP"])
def scan_chunks(
    p_scaled_q,
    p_scaled_k,
    p_v,
    p_out,
    p_inverse,
    p_attention,
    p_rows,
    p_state,
    p_final_state,
    s_v_b,
    s_v_t,
    s_v_h,
    s_out_b,
    s_out_t,
    s_out_h,
    T,
    N,
    H,
    GROUP,
    K: tl.constexpr,
    V: tl.constexpr,
    KEY_1: tl.constexpr,
    KEY_2: tl.constexpr,
    KEY_3: tl.constexpr,
    BV: tl.constexpr,
    C: tl.constexpr,
    HAS_STATE: tl.constexpr,
    HALF: tl.constexpr,
    PRECISION: tl.constexpr,
):
    KEY_WIDTH: tl.constexpr = KEY_1 + KEY_2 + KEY_3
    i_bh = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    p_scaled_q += (i_bh // GROUP) * N * C * KEY_WIDTH
    p_scaled_k += (i_bh // GROUP) * N * C * KEY_WIDTH
    p_v += i_b * s_v_b + i_h * s_v_h
    p_out += i_b * s_out_b + i_h * s_out_h
    p_inverse += i_bh * N * C * C
    p_attention += i_bh * N * C * C
    p_rows += i_bh * N * 4 * C
    p_state += i_bh * K * V
    p_final_state += i_bh * K * V
    o_t = tl.arange(0, C)
    o_v = tl.program_id(0) * BV + tl.arange(0, BV)
    o_entry = o_t[None, :] + o_t[:, None] * C
    b_identity = tl.where(o_t[:, None] == o_t[None, :], 1.0, 0.0).to(p_v.dtype.element_ty)

    # The state is held transposed, [value, key], in up to three parts of the key.
    b_state_1, b_squares = _load_state(p_state, o_v, 0, KEY_1, K, V, HAS_STATE)
    if KEY_2 > 0:
        b_state_2, b_more = _load_state(p_state, o_v, KEY_1, KEY_2, K, V, HAS_STATE)
        b_squares += b_more
    if KEY_3 > 0:
        b_state_3, b_more = _load_state(p_state, o_v, KEY_1 + KEY_2, KEY_3, K, V, HAS_STATE)
        b_squares += b_more
    b_norm = tl.sqrt(b_squares)
    b_unscale = tl.full([BV], 1.0, tl.float32)

    chunks = tl.cdiv(T, C)
    next_decay = tl.load(p_rows + 3 * C)
    # The addresses advance by one chunk at a time: no product of a token index and a stride can overflow.
    for i_chunk in range(chunks):
        m_t = o_t < T - i_chunk * C
        m_v = m_t[:, None] & (o_v < V)[None, :]
        b_v = tl.load(p_v + o_t[:, None] * s_v_t + o_v[None, :], mask=m_v, other=0.0)
        # The tensor cores read it from shared memory, transposed; registers would take it there a number at a time.
        b_v = tl.dot(tl.trans(b_v), b_identity) if HALF else tl.trans(b_v).to(tl.float32)
        # Read one chunk ahead: a lone scalar has nothing else to hide its latency behind.
        decay = next_decay
        next_decay = tl.load(p_rows + 7 * C, mask=i_chunk + 1 < chunks, other=0.0)

        b_largest = tl.max(tl.abs(b_v), axis=1)
        b_scale, b_next_unscale = _range_scale(b_norm + 129 * b_largest)
        b_norm = b_norm * decay + 128 * b_largest
        b_rescale = b_scale * b_unscale
        b_unscale = b_next_unscale
        b_state_1 *= b_rescale[:, None]
        b_recalled = tl.zeros([BV, C], tl.float32)
        b_out = tl.zeros([BV, C], tl.float32)
        b_k_1, b_recalled, b_out = _read_state(
            b_state_1, p_scaled_q, p_scaled_k, b_recalled, b_out, o_t, 0, KEY_1, KEY_WIDTH, PRECISION
        )
        if KEY_2 > 0:
            b_state_2 *= b_rescale[:, None]
            b_k_2, b_recalled, b_out = _read_state(
                b_state_2, p_scaled_q, p_scaled_k, b_recalled, b_out, o_t, KEY_1, KEY_2, KEY_WIDTH, PRECISION
            )
        if KEY_3 > 0:
            b_state_3 *= b_rescale[:, None]
            b_k_3, b_recalled, b_out = _read_state(
                b_state_3, p_scaled_q, p_scaled_k, b_recalled, b_out, o_t, KEY_1 + KEY_2, KEY_3, KEY_WIDTH, PRECISION
            )

        b_missing = b_v * b_scale[:, None] - b_recalled * tl.load(p_rows + o_t)[None, :]
        b_inverse = tl.trans(tl.load(p_inverse + o_entry))
        if HALF:
            # In two parts: with beta near 2 and no decay nothing forgets what rounding it once would leave out.
            b_high = _cut(b_missing, tl.float16)
            b_written = tl.dot(b_high.to(tl.float16), b_inverse)
            b_written = tl.dot((b_missing - b_high).to(tl.float16), b_inverse, acc=b_written)
        else:
            b_written = tl.dot(b_missing, b_inverse, input_precision=PRECISION)
        b_kept = (b_written * tl.load(p_rows + 2 * C + o_t)[None, :]).to(b_inverse.dtype)
        b_state_1 = tl.dot(b_kept, b_k_1, acc=b_state_1 * decay, input_precision=PRECISION)
        if KEY_2 > 0:
            b_state_2 = tl.dot(b_kept, b_k_2, acc=b_state_2 * decay, input_precision=PRECISION)
        if KEY_3 > 0:
            b_state_3 = tl.dot(b_kept, b_k_3, acc=b_state_3 * decay, input_precision=PRECISION)
        b_attention = tl.trans(tl.load(p_attention + o_entry))
        b_out *= tl.load(p_rows + C + o_t)[None, :]
        b_out = tl.dot(b_written.to(b_inverse.dtype), b_attention, acc=b_out, input_precision=PRECISION)
        b_out *= b_unscale[:, None]
        m_value = m_t[None, :] & (o_v < V)[:, None]
        tl.store(p_out + o_t[None, :] * s_out_t + o_v[:, None], b_out.to(p_out.dtype.element_ty), mask=m_value)
        p_scaled_q += C * KEY_WIDTH
        p_scaled_k += C * KEY_WIDTH
        p_v += C * s_v_t
        p_out += C * s_out_t
        p_inverse += C * C
        p_attention += C * C
        p_rows += 4 * C

    _store_state(p_final_state, b_state_1 * b_unscale[:, None], o_v, 0, KEY_1, K, V)
    if KEY_2 > 0:
        _store_state(p_final_state, b_state_2 * b_unscale[:, None], o_v, KEY_1, KEY_2, K, V)
    if KEY_3 > 0:
        _store_state(p_final_state, b_state_3 * b_unscale[:, None], o_v, KEY_1 + KEY_2, KEY_3, K, V)
