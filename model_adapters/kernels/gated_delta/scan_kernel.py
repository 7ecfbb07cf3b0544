"""The second Triton kernel of the gated delta rule's prefill: the sequential scan over the chunks of a head.

triton_prefill.py describes its inputs from the first kernel, and launches both.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

import triton
import triton.language as tl

from model_adapters.kernels.gated_delta.blocks import cut_to, dense_offsets, row_squares
from model_adapters.kernels.table_of_rows import load_row, load_slot


@triton.jit
def _state_offsets(o_v, columns, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr):
    """Offsets of one part of the state, and a mask of those in its first `columns` value columns."""
    o_k = FIRST + tl.arange(0, WIDTH)
    return o_k[None, :] * V + o_v[:, None], (o_k < K)[None, :] & (o_v < columns)[:, None]


@triton.jit
def _load_state(p_state, o_v, columns, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr):
    """One part of the state, with zeros after the first `columns` value columns, and the squares of its rows."""
    o_state, m_state = _state_offsets(o_v, columns, FIRST, WIDTH, K, V)
    b_state = tl.load(p_state + o_state, mask=m_state, other=0.0)
    return b_state, row_squares(b_state)


@triton.jit
def _store_state(
    p_state, b_state, o_v, columns, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr
):
    o_state, m_state = _state_offsets(o_v, columns, FIRST, WIDTH, K, V)
    tl.store(p_state + o_state, b_state, mask=m_state)


@triton.jit
def _range_scale(b_ceiling):
    """A power of two that scales values of at most b_ceiling below 2^14, and its inverse.

    For ceilings from 2^-60 to 2^66, so that no quotient of two of these powers leaves the range of fp32.
    """
    b_exponent = 267 - (tl.clamp(b_ceiling, 2.0**-60, 2.0**66).to(tl.uint32, bitcast=True) >> 23)
    return (b_exponent << 23).to(tl.float32, bitcast=True), ((254 - b_exponent) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _read_state(
    b_state, b_rescale, p_q, p_k, b_recalled, b_out, o_t,
    FIRST: tl.constexpr, WIDTH: tl.constexpr, KEY_WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The transposed state times a chunk's keys and queries, summed over the parts of the key size."""
    b_k = tl.load(p_k + dense_offsets(o_t, FIRST, WIDTH, KEY_WIDTH))
    b_q = tl.load(p_q + dense_offsets(o_t, FIRST, WIDTH, KEY_WIDTH))
    b_state *= b_rescale[:, None]
    b_rounded = b_state.to(b_k.dtype)
    b_recalled = tl.dot(b_rounded, tl.trans(b_k), acc=b_recalled, input_precision=PRECISION)
    b_out = tl.dot(b_rounded, tl.trans(b_q), acc=b_out, input_precision=PRECISION)
    return b_state, b_k, b_recalled, b_out


@triton.jit
def _written_rows(b_missing, b_inverse, HALF: tl.constexpr, PRECISION: tl.constexpr):
    """The rows that a chunk writes to the state, transposed."""
    if HALF:
        # In two parts, because with beta near 2 and no decay rounding errors never vanish.
        b_high = cut_to(b_missing, tl.float16)
        b_written = tl.dot(b_high.to(tl.float16), b_inverse)
        b_written = tl.dot((b_missing - b_high).to(tl.float16), b_inverse, acc=b_written)
    else:
        b_written = tl.dot(b_missing, b_inverse, input_precision=PRECISION)
    return b_written


@triton.jit(do_not_specialize=["START", "PIECE", "N", "H", "GROUP"])
def scan_chunks(
    p_q,
    p_k,
    p_v,
    p_out,
    p_inverse,
    p_attention,
    p_rows,
    p_state,
    p_final_state,
    p_table,
    s_v_t,
    s_v_h,
    s_out_t,
    s_out_h,
    START,
    PIECE,
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
    HALF: tl.constexpr,
    PRECISION: tl.constexpr,
):
    KEY_WIDTH: tl.constexpr = KEY_1 + KEY_2 + KEY_3
    i_bh = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    i_row, T, i_row_chunk = load_row(p_table, i_b, START, PIECE)
    i_slot, continues, keeps = load_slot(p_table, i_b, START)
    # A row that starts from zeros reads no column of the state, and one that is not kept writes none.
    known_columns = V * continues
    kept_columns = V * keeps
    i_place = i_h * N + i_row_chunk
    i_key_place = (i_h // GROUP) * N + i_row_chunk
    p_q += i_key_place * C * KEY_WIDTH
    p_k += i_key_place * C * KEY_WIDTH
    p_v += i_row * s_v_t + i_h * s_v_h
    p_out += i_row * s_out_t + i_h * s_out_h
    p_inverse += i_place * C * C
    p_attention += i_place * C * C
    p_rows += i_place * 4 * C
    p_state += (i_slot * H + i_h) * K * V
    p_final_state += (i_slot * H + i_h) * K * V
    o_t = tl.arange(0, C)
    o_v = tl.program_id(0) * BV + tl.arange(0, BV)
    o_entry = o_t[None, :] + o_t[:, None] * C
    b_identity = tl.where(o_t[:, None] == o_t[None, :], 1.0, 0.0).to(p_v.dtype.element_ty)

    # The state is kept transposed, [value, key], in up to three parts of the key.
    b_state_1, b_squares = _load_state(p_state, o_v, known_columns, 0, KEY_1, K, V)
    if KEY_2 > 0:
        b_state_2, b_more = _load_state(p_state, o_v, known_columns, KEY_1, KEY_2, K, V)
        b_squares += b_more
    if KEY_3 > 0:
        b_state_3, b_more = _load_state(p_state, o_v, known_columns, KEY_1 + KEY_2, KEY_3, K, V)
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
        # The tensor cores read it transposed from shared memory; from registers it would be stored value by value.
        b_v = tl.dot(tl.trans(b_v), b_identity) if HALF else tl.trans(b_v).to(tl.float32)
        # Read one chunk ahead, to hide the latency of a single scalar.
        decay = next_decay
        next_decay = tl.load(p_rows + 7 * C, mask=i_chunk + 1 < chunks, other=0.0)

        b_largest = tl.max(tl.abs(b_v), axis=1)
        # A token writes at most beta (|v| + norm), twice what is scaled here, and so adds at most 2 |v| to the norm.
        b_scale, b_next_unscale = _range_scale(b_norm + (2 * C + 1) * b_largest)
        b_norm = b_norm * decay + 2 * C * b_largest
        b_rescale = b_scale * b_unscale
        b_unscale = b_next_unscale
        b_recalled = tl.zeros([BV, C], tl.float32)
        b_out = tl.zeros([BV, C], tl.float32)
        b_state_1, b_k_1, b_recalled, b_out = _read_state(
            b_state_1, b_rescale, p_q, p_k, b_recalled, b_out, o_t, 0, KEY_1, KEY_WIDTH, PRECISION
        )
        if KEY_2 > 0:
            b_state_2, b_k_2, b_recalled, b_out = _read_state(
                b_state_2, b_rescale, p_q, p_k, b_recalled, b_out, o_t, KEY_1, KEY_2, KEY_WIDTH, PRECISION
            )
        if KEY_3 > 0:
            b_state_3, b_k_3, b_recalled, b_out = _read_state(
                b_state_3, b_rescale, p_q, p_k, b_recalled, b_out, o_t, KEY_1 + KEY_2, KEY_3, KEY_WIDTH, PRECISION
            )

        b_missing = b_v * b_scale[:, None] - b_recalled * tl.load(p_rows + o_t)[None, :]
        b_inverse = tl.trans(tl.load(p_inverse + o_entry))
        b_written = _written_rows(b_missing, b_inverse, HALF, PRECISION)
        b_kept = (b_written * tl.load(p_rows + 2 * C + o_t)[None, :]).to(b_inverse.dtype)
        b_state_1 = tl.dot(b_kept, b_k_1, acc=b_state_1 * decay, input_precision=PRECISION)
        if KEY_2 > 0:
            b_state_2 = tl.dot(b_kept, b_k_2, acc=b_state_2 * decay, input_precision=PRECISION)
        if KEY_3 > 0:
            b_state_3 = tl.dot(b_kept, b_k_3, acc=b_state_3 * decay, input_precision=PRECISION)
        b_attention = tl.trans(tl.load(p_attention + o_entry))
        b_out *= tl.load(p_rows + C + o_t)[None, :]
        b_out = tl.dot(b_written.to(b_inverse.dtype), b_attention, acc=b_out, input_precision=PRECISION)
        b_out = (b_out * b_unscale[:, None]).to(p_out.dtype.element_ty)
        tl.store(p_out + o_t[None, :] * s_out_t + o_v[:, None], b_out, mask=m_t[None, :] & (o_v < V)[:, None])
        p_q += C * KEY_WIDTH
        p_k += C * KEY_WIDTH
        p_v += C * s_v_t
        p_out += C * s_out_t
        p_inverse += C * C
        p_attention += C * C
        p_rows += 4 * C

    _store_state(p_final_state, b_state_1 * b_unscale[:, None], o_v, kept_columns, 0, KEY_1, K, V)
    if KEY_2 > 0:
        _store_state(p_final_state, b_state_2 * b_unscale[:, None], o_v, kept_columns, KEY_1, KEY_2, K, V)
    if KEY_3 > 0:
        _store_state(p_final_state, b_state_3 * b_unscale[:, None], o_v, kept_columns, KEY_1 + KEY_2, KEY_3, K, V)
