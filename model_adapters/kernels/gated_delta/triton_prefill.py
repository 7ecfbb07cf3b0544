"""Prefill of the gated delta rule in Triton: two kernels, forward only, from an initial to a final state.

What one chunk of C = 64 tokens does to a head's state S (K × V), with L = tril(beta K K^T decay, -1):

    written = (I + L)^-1 beta (V - decay_from_start K S)          the rows that the chunk adds to the memory
    out     = decay_from_start Q S + tril(Q K^T decay) written
    S'      = decay_of_chunk S + (decay_to_end K)^T written

`_prepare_chunks` computes what does not depend on S for all chunks at once: (I + L)^-1 beta, tril(Q K^T decay), and
the row factors into which the normalisation of q and k folds, so that q and k are never written again.
`_scan_chunks` then walks the chunks, one program a block of value columns, and keeps S in registers, transposed:
the left operand of all five products then comes out of an accumulator, and only inputs pass through shared memory.
No state but the last is written.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from model_adapters.kernels.gated_delta.arguments import (
    MAX_HEAD_SIZE,
    RawGates,
    check_arguments,
    check_kernel_tensors,
    check_out,
    gate_tensors,
)
from model_adapters.kernels.gated_delta.gates import load_gates
from model_adapters.kernels.gated_delta.reference import NORMALIZATION_EPSILON

CHUNK_TOKENS = 64
# Left out of compile-time specialisation: a new number of heads or tokens must not compile the kernels again.
_GATE_STRIDES = ["s_decay_b", "s_decay_t", "s_decay_h", "s_beta_b", "s_beta_t", "s_beta_h"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillLaunch:
    """How the two kernels are launched; `piece_tokens` bounds the scratch held between them."""

    piece_tokens: int = 8192
    value_block: int = 64
    prepare_warps: int = 4
    prepare_stages: int = 1
    scan_warps: int = 4
    scan_stages: int = 2
    overlap_pieces: bool = False


def choose_prefill_launch(*, key_size: int, value_size: int, dtype: torch.dtype) -> PrefillLaunch:
    """Launch configuration for a shape; a plain function, since tuning needs a driver and first-call time."""
    exact = dtype == torch.float32
    value_block = min(32 if exact else 64, max(16, triton.next_power_of_2(value_size)))
    wide = key_size > 128 or exact
    return PrefillLaunch(value_block=value_block, scan_stages=1 if wide else 2)


def prefill_gated_delta_rule(
    q_BTHK: torch.Tensor,
    k_BTHK: torch.Tensor,
    v_BTHV: torch.Tensor,
    *,
    log_decay_BTH: torch.Tensor | None = None,
    beta_BTH: torch.Tensor | None = None,
    raw_gates: RawGates | None = None,
    initial_state_BHKV: torch.Tensor | None = None,
    out_BTHV: torch.Tensor | None = None,
    final_state_BHKV: torch.Tensor | None = None,
    normalize_qk: bool = True,
    launch: PrefillLaunch | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and final state of a segment: `(out_BTHV, final_state_BHKV)`, out in v's dtype and states in fp32.

    Gates are either ready (`log_decay_BTH` at most 0 and `beta_BTH` in [0, 2]) or raw (`raw_gates`, then the
    non-linearities are computed here). q, k and v may be strided views with contiguous last dimension, all of one
    dtype (bf16, fp16 or fp32); head sizes go up to 256. `final_state_BHKV` may be the initial state, then updated in
    place. Raises ValueError for shapes, dtypes, strides or devices that do not fit.

    The chunked form is that of Yang et al., "Gated Delta Networks" (arXiv:2412.06464).
    """
    first_gate, second_gate = gate_tensors(log_decay_BTH, beta_BTH, raw_gates)
    check_arguments(q_BTHK, k_BTHK, v_BTHV, first_gate, second_gate, initial_state_BHKV)
    check_kernel_tensors(q_BTHK, k_BTHK, v_BTHV, initial_state_BHKV, raw_gates, max_head_size=MAX_HEAD_SIZE)
    sequences, _, value_heads, value_size = v_BTHV.shape
    key_size = q_BTHK.shape[-1]
    state_shape = (sequences, value_heads, key_size, value_size)
    out = v_BTHV.new_empty(v_BTHV.shape) if out_BTHV is None else out_BTHV
    final_state = final_state_BHKV
    if final_state is None:
        final_state = torch.empty(state_shape, dtype=torch.float32, device=v_BTHV.device)
    check_out("out", out, shape=tuple(v_BTHV.shape), dtype=v_BTHV.dtype, device=v_BTHV.device)
    check_out("final_state", final_state, shape=state_shape, dtype=torch.float32, device=v_BTHV.device)
    if launch is None:
        launch = choose_prefill_launch(key_size=key_size, value_size=value_size, dtype=v_BTHV.dtype)
    gates = (first_gate, second_gate, raw_gates)
    segment = _Segment(q_BTHK, k_BTHK, v_BTHV, gates, out, final_state, normalize_qk, launch)
    _run_pieces(segment, initial_state_BHKV)
    return out, final_state


@dataclass(frozen=True, slots=True)
class _Segment:
    """The tensors of one call, checked."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    gates: tuple[torch.Tensor, torch.Tensor, RawGates | None]
    out: torch.Tensor
    final_state: torch.Tensor
    normalize_qk: bool
    launch: PrefillLaunch


@dataclass(frozen=True, slots=True)
class _Scratch:
    """What the first kernel leaves for the second, for every head and chunk of one piece."""

    inverse: torch.Tensor
    attention: torch.Tensor
    rows: torch.Tensor

    @classmethod
    def for_piece(cls, segment: _Segment, piece_tokens: int) -> "_Scratch":
        chunks = triton.cdiv(piece_tokens, CHUNK_TOKENS)
        heads = segment.v.shape[0] * segment.v.shape[2]
        square = (heads, chunks, CHUNK_TOKENS, CHUNK_TOKENS)
        return cls(
            inverse=segment.v.new_empty(square),
            attention=segment.v.new_empty(square),
            rows=torch.empty((heads, chunks, 4, CHUNK_TOKENS), dtype=torch.float32, device=segment.v.device),
        )


def _run_pieces(segment: _Segment, initial_state: torch.Tensor | None) -> None:
    tokens = segment.v.shape[1]
    piece_tokens = min(tokens, max(CHUNK_TOKENS, segment.launch.piece_tokens // CHUNK_TOKENS * CHUNK_TOKENS))
    starts = range(0, tokens, piece_tokens)
    if segment.launch.overlap_pieces and len(starts) > 1 and segment.v.is_cuda:
        _run_overlapped(segment, initial_state, piece_tokens)
        return
    scratch = _Scratch.for_piece(segment, piece_tokens)
    state = initial_state
    for start in starts:
        stop = min(start + piece_tokens, tokens)
        _prepare(segment, scratch, start, stop)
        _scan(segment, scratch, start, stop, state)
        state = segment.final_state


def _run_overlapped(segment: _Segment, initial_state: torch.Tensor | None, piece_tokens: int) -> None:
    """The scan leaves multiprocessors idle; a second stream prepares the next piece on them."""
    tokens = segment.v.shape[1]
    scratches = [_Scratch.for_piece(segment, piece_tokens) for _ in range(2)]
    main, side = torch.cuda.current_stream(), _side_stream(segment.v.device)
    side.wait_stream(main)
    scanned: list[torch.cuda.Event] = []
    state = initial_state
    for index, start in enumerate(range(0, tokens, piece_tokens)):
        stop = min(start + piece_tokens, tokens)
        scratch = scratches[index % 2]
        with torch.cuda.stream(side):
            if index >= 2:
                side.wait_event(scanned[index - 2])
            _prepare(segment, scratch, start, stop)
            prepared = torch.cuda.Event()
            prepared.record(side)
        main.wait_event(prepared)
        _scan(segment, scratch, start, stop, state)
        scanned.append(torch.cuda.Event())
        scanned[-1].record(main)
        state = segment.final_state


_SIDE_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


def _side_stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _SIDE_STREAMS:
        _SIDE_STREAMS[device] = torch.cuda.Stream(device)
    return _SIDE_STREAMS[device]


def split_key_size(key_size: int) -> tuple[int, int, int]:
    """Powers of two that cover a key size in at most three parts (0 for a part not needed): 96 is 64 + 32."""
    parts = []
    rest = key_size
    while rest > 0 and len(parts) < 2:
        parts.append(16 if rest < 16 else min(128, 1 << (rest.bit_length() - 1)))
        rest -= parts[-1]
    parts.append(max(16, triton.next_power_of_2(rest)) if rest > 0 else 0)
    first, second, third = [*parts, 0][:3]
    return first, second, third


def _prepare(segment: _Segment, scratch: _Scratch, start: int, stop: int) -> None:
    q, k, v, launch = segment.q, segment.k, segment.v, segment.launch
    decay, beta, raw = segment.gates
    heads, key_heads, key_size = v.shape[2], k.shape[2], k.shape[3]
    key_1, key_2, key_3 = split_key_size(key_size)
    grid = (v.shape[0] * heads, triton.cdiv(stop - start, CHUNK_TOKENS))
    exact = v.dtype == torch.float32
    _prepare_chunks[grid](
        q[:, start:],
        k[:, start:],
        decay[:, start:],
        beta[:, start:],
        decay if raw is None else raw.decay_rate_log,
        decay if raw is None else raw.decay_bias,
        scratch.inverse,
        scratch.attention,
        scratch.rows,
        *q.stride()[:3],
        *k.stride()[:3],
        *decay.stride(),
        *beta.stride(),
        stop - start,
        scratch.inverse.shape[1],
        heads,
        heads // key_heads,
        key_size**-0.5,
        1.0 if raw is None else raw.beta_scale,
        NORMALIZATION_EPSILON,
        K=key_size,
        KEY_1=key_1,
        KEY_2=key_2,
        KEY_3=key_3,
        C=CHUNK_TOKENS,
        LEVELS=CHUNK_TOKENS.bit_length() - 1,
        NORMALIZE=segment.normalize_qk,
        RAW_GATES=raw is not None,
        # Entries of the inverse stay within 2 for unit keys, which fp16 holds with 8 times the precision of bf16.
        HALF_INVERSE=segment.normalize_qk and not exact,
        PRECISION="tf32x3" if exact else "tf32",
        num_warps=launch.prepare_warps,
        num_stages=launch.prepare_stages,
    )


def _scan(segment: _Segment, scratch: _Scratch, start: int, stop: int, state: torch.Tensor | None) -> None:
    q, k, v, launch = segment.q, segment.k, segment.v, segment.launch
    heads, key_heads, key_size, value_size = v.shape[2], k.shape[2], k.shape[3], v.shape[3]
    key_1, key_2, key_3 = split_key_size(key_size)
    grid = (triton.cdiv(value_size, launch.value_block), v.shape[0] * heads)
    _scan_chunks[grid](
        q[:, start:],
        k[:, start:],
        v[:, start:],
        segment.out[:, start:],
        scratch.inverse,
        scratch.attention,
        scratch.rows,
        segment.final_state if state is None else state,
        segment.final_state,
        *q.stride()[:3],
        *k.stride()[:3],
        *v.stride()[:3],
        *segment.out.stride()[:3],
        stop - start,
        scratch.inverse.shape[1],
        heads,
        heads // key_heads,
        K=key_size,
        V=value_size,
        KEY_1=key_1,
        KEY_2=key_2,
        KEY_3=key_3,
        BV=launch.value_block,
        C=CHUNK_TOKENS,
        HAS_STATE=state is not None,
        PRECISION="tf32x3" if v.dtype == torch.float32 else "tf32",
        num_warps=launch.scan_warps,
        num_stages=launch.scan_stages,
    )


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
    return tl.rsqrt(b_squares + epsilon) if NORMALIZE else tl.full(b_squares.shape, 1.0, tl.float32)


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
    b_below = tl.where((o_i == o_j + 1) & (o_j % 2 == 0), b_lower, 0.0)
    if HALF:
        b_half = b_inverse.to(tl.float16)
        b_product = tl.dot(b_half, b_below.to(tl.float16)).to(tl.float16)
        return b_inverse - tl.dot(b_product, b_half)
    b_product = tl.dot(b_inverse, b_below, input_precision=PRECISION)
    return b_inverse - tl.dot(b_product, b_inverse, input_precision=PRECISION)


@triton.jit
def _invert_unit_lower(b_lower, C: tl.constexpr, LEVELS: tl.constexpr, HALF: tl.constexpr, PRECISION: tl.constexpr):
    """(I + b_lower)^-1 for a strictly lower triangular block of C = 2^LEVELS rows, by doubling inverted blocks.

    As exact as substitution: every intermediate is a block of the inverse itself, unlike in a power series.
    """
    o_i = tl.arange(0, C)[:, None]
    o_j = tl.arange(0, C)[None, :]
    b_inverse = tl.where(o_i == o_j, 1.0, 0.0) - tl.where(o_i // 2 == o_j // 2, b_lower, 0.0)
    for level in tl.static_range(1, LEVELS):
        b_inverse = _double_blocks(b_inverse, b_lower, 2**level, C, HALF, PRECISION)
    return b_inverse


@triton.jit(do_not_specialize=["T", "N", "H", "GROUP", *_GATE_STRIDES])
def _prepare_chunks(
    p_q,
    p_k,
    p_decay,
    p_beta,
    p_decay_rate_log,
    p_decay_bias,
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
    HALF_INVERSE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    i_bh = tl.program_id(0).to(tl.int64)
    i_chunk = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    i_first = i_chunk * C
    o_t = tl.arange(0, C)
    m_t = o_t < T - i_first
    p_q += i_b * s_q_b + (i_h // GROUP) * s_q_h + i_first * s_q_t
    p_k += i_b * s_k_b + (i_h // GROUP) * s_k_h + i_first * s_k_t

    b_k = _load_part(p_k, o_t, m_t, s_k_t, 0, KEY_1, K)
    b_q = _load_part(p_q, o_t, m_t, s_q_t, 0, KEY_1, K)
    b_k_squares, b_q_squares = _row_squares(b_k), _row_squares(b_q)
    b_kk = tl.dot(b_k, tl.trans(b_k), input_precision=PRECISION)
    b_qk = tl.dot(b_q, tl.trans(b_k), input_precision=PRECISION)
    if KEY_2 > 0:
        b_k = _load_part(p_k, o_t, m_t, s_k_t, KEY_1, KEY_2, K)
        b_q = _load_part(p_q, o_t, m_t, s_q_t, KEY_1, KEY_2, K)
        b_k_squares += _row_squares(b_k)
        b_q_squares += _row_squares(b_q)
        b_kk = tl.dot(b_k, tl.trans(b_k), acc=b_kk, input_precision=PRECISION)
        b_qk = tl.dot(b_q, tl.trans(b_k), acc=b_qk, input_precision=PRECISION)
    if KEY_3 > 0:
        b_k = _load_part(p_k, o_t, m_t, s_k_t, KEY_1 + KEY_2, KEY_3, K)
        b_q = _load_part(p_q, o_t, m_t, s_q_t, KEY_1 + KEY_2, KEY_3, K)
        b_k_squares += _row_squares(b_k)
        b_q_squares += _row_squares(b_q)
        b_kk = tl.dot(b_k, tl.trans(b_k), acc=b_kk, input_precision=PRECISION)
        b_qk = tl.dot(b_q, tl.trans(b_k), acc=b_qk, input_precision=PRECISION)
    b_k_norm = _inverse_norm(b_k_squares, epsilon, NORMALIZE)
    b_q_norm = _inverse_norm(b_q_squares, epsilon, NORMALIZE) * scale

    b_log_decay, b_beta = load_gates(
        p_decay + i_b * s_decay_b + i_h * s_decay_h + i_first * s_decay_t + o_t * s_decay_t,
        p_beta + i_b * s_beta_b + i_h * s_beta_h + i_first * s_beta_t + o_t * s_beta_t,
        m_t,
        p_decay_rate_log + i_h,
        p_decay_bias + i_h,
        beta_scale,
        RAW_GATES,
    )
    b_since_start = tl.cumsum(b_log_decay, axis=0)
    b_whole = tl.sum(b_log_decay, axis=0)

    m_causal = o_t[:, None] >= o_t[None, :]
    # Above the diagonal the difference is positive and may overflow: masked before the exponential.
    b_decay = tl.exp(tl.where(m_causal, b_since_start[:, None] - b_since_start[None, :], -float("inf")))
    b_decay *= b_k_norm[None, :]
    b_attention = b_qk * b_decay * b_q_norm[:, None]
    b_lower = tl.where(o_t[:, None] > o_t[None, :], b_kk * b_decay * (b_beta * b_k_norm)[:, None], 0.0)
    b_inverse = _invert_unit_lower(b_lower, C, LEVELS, HALF_INVERSE, PRECISION) * b_beta[None, :]

    o_square = (i_bh * N + i_chunk) * C * C
    o_entry = o_t[:, None] * C + o_t[None, :]
    tl.store(p_attention + o_square + o_entry, b_attention.to(p_attention.dtype.element_ty))
    tl.store(p_inverse + o_square + o_entry, b_inverse.to(p_inverse.dtype.element_ty))
    b_from_start = tl.exp(b_since_start)
    p_rows += (i_bh * N + i_chunk) * 4 * C
    tl.store(p_rows + o_t, b_from_start * b_k_norm)
    tl.store(p_rows + C + o_t, b_from_start * b_q_norm)
    tl.store(p_rows + 2 * C + o_t, tl.exp(b_whole - b_since_start) * b_k_norm)
    tl.store(p_rows + 3 * C + o_t, tl.exp(b_whole) + tl.zeros([C], tl.float32))


@triton.jit
def _state_offsets(o_v, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr):
    o_k = FIRST + tl.arange(0, WIDTH)
    return o_k[None, :] * V + o_v[:, None], (o_k < K)[None, :] & (o_v < V)[:, None]


@triton.jit
def _load_state(p_state, o_v, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr):
    o_state, m_state = _state_offsets(o_v, FIRST, WIDTH, K, V)
    return tl.load(p_state + o_state, mask=m_state, other=0.0)


@triton.jit
def _store_state(p_state, b_state, o_v, FIRST: tl.constexpr, WIDTH: tl.constexpr, K: tl.constexpr, V: tl.constexpr):
    o_state, m_state = _state_offsets(o_v, FIRST, WIDTH, K, V)
    tl.store(p_state + o_state, b_state, mask=m_state)


@triton.jit(do_not_specialize=["T", "N", "H", "GROUP"])
def _scan_chunks(
    p_q,
    p_k,
    p_v,
    p_out,
    p_inverse,
    p_attention,
    p_rows,
    p_state,
    p_final_state,
    s_q_b,
    s_q_t,
    s_q_h,
    s_k_b,
    s_k_t,
    s_k_h,
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
    PRECISION: tl.constexpr,
):
    i_v = tl.program_id(0)
    i_bh = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    p_q += i_b * s_q_b + (i_h // GROUP) * s_q_h
    p_k += i_b * s_k_b + (i_h // GROUP) * s_k_h
    p_v += i_b * s_v_b + i_h * s_v_h
    p_out += i_b * s_out_b + i_h * s_out_h
    p_inverse += i_bh * N * C * C
    p_attention += i_bh * N * C * C
    p_rows += i_bh * N * 4 * C
    o_t = tl.arange(0, C)
    o_v = i_v * BV + tl.arange(0, BV)
    o_entry = o_t[None, :] + o_t[:, None] * C
    chunks = tl.cdiv(T, C)

    # The state is held transposed, [value, key], in up to three parts of the key.
    if HAS_STATE:
        b_state_1 = _load_state(p_state + i_bh * K * V, o_v, 0, KEY_1, K, V)
        if KEY_2 > 0:
            b_state_2 = _load_state(p_state + i_bh * K * V, o_v, KEY_1, KEY_2, K, V)
        if KEY_3 > 0:
            b_state_3 = _load_state(p_state + i_bh * K * V, o_v, KEY_1 + KEY_2, KEY_3, K, V)
    else:
        b_state_1 = tl.zeros([BV, KEY_1], tl.float32)
        if KEY_2 > 0:
            b_state_2 = tl.zeros([BV, KEY_2], tl.float32)
        if KEY_3 > 0:
            b_state_3 = tl.zeros([BV, KEY_3], tl.float32)

    dtype = p_k.dtype.element_ty
    next_decay = tl.load(p_rows + 3 * C)
    # The addresses advance by one chunk at a time: no product of a token index and a stride can overflow.
    for i_chunk in range(chunks):
        m_t = o_t < T - i_chunk * C
        m_value = m_t[None, :] & (o_v < V)[:, None]
        b_k_1 = _load_part(p_k, o_t, m_t, s_k_t, 0, KEY_1, K)
        b_q_1 = _load_part(p_q, o_t, m_t, s_q_t, 0, KEY_1, K)
        b_v = tl.load(p_v + o_t[None, :] * s_v_t + o_v[:, None], mask=m_value, other=0.0)
        b_inverse = tl.load(p_inverse + o_entry)
        b_attention = tl.load(p_attention + o_entry)
        b_k_rows = tl.load(p_rows + o_t)
        b_q_rows = tl.load(p_rows + C + o_t)
        b_end_rows = tl.load(p_rows + 2 * C + o_t)
        # Read one chunk ahead: a lone scalar has nothing else to hide its latency behind.
        decay = next_decay
        next_decay = tl.load(p_rows + 7 * C, mask=i_chunk + 1 < chunks, other=0.0)

        b_half_1 = b_state_1.to(dtype)
        b_recalled = tl.dot(b_half_1, tl.trans(b_k_1), input_precision=PRECISION)
        b_out = tl.dot(b_half_1, tl.trans(b_q_1), input_precision=PRECISION)
        if KEY_2 > 0:
            b_k_2 = _load_part(p_k, o_t, m_t, s_k_t, KEY_1, KEY_2, K)
            b_q_2 = _load_part(p_q, o_t, m_t, s_q_t, KEY_1, KEY_2, K)
            b_half_2 = b_state_2.to(dtype)
            b_recalled = tl.dot(b_half_2, tl.trans(b_k_2), acc=b_recalled, input_precision=PRECISION)
            b_out = tl.dot(b_half_2, tl.trans(b_q_2), acc=b_out, input_precision=PRECISION)
        if KEY_3 > 0:
            b_k_3 = _load_part(p_k, o_t, m_t, s_k_t, KEY_1 + KEY_2, KEY_3, K)
            b_q_3 = _load_part(p_q, o_t, m_t, s_q_t, KEY_1 + KEY_2, KEY_3, K)
            b_half_3 = b_state_3.to(dtype)
            b_recalled = tl.dot(b_half_3, tl.trans(b_k_3), acc=b_recalled, input_precision=PRECISION)
            b_out = tl.dot(b_half_3, tl.trans(b_q_3), acc=b_out, input_precision=PRECISION)

        b_residual = b_v.to(tl.float32) - b_recalled * b_k_rows[None, :]
        b_written = tl.dot(b_residual.to(dtype), tl.trans(b_inverse), input_precision=PRECISION)
        b_out *= b_q_rows[None, :]
        b_kept = (b_written * b_end_rows[None, :]).to(dtype)
        b_state_1 = tl.dot(b_kept, b_k_1, acc=b_state_1 * decay, input_precision=PRECISION)
        if KEY_2 > 0:
            b_state_2 = tl.dot(b_kept, b_k_2, acc=b_state_2 * decay, input_precision=PRECISION)
        if KEY_3 > 0:
            b_state_3 = tl.dot(b_kept, b_k_3, acc=b_state_3 * decay, input_precision=PRECISION)
        b_out = tl.dot(b_written.to(dtype), tl.trans(b_attention), acc=b_out, input_precision=PRECISION)
        tl.store(p_out + o_t[None, :] * s_out_t + o_v[:, None], b_out.to(p_out.dtype.element_ty), mask=m_value)
        p_q += C * s_q_t
        p_k += C * s_k_t
        p_v += C * s_v_t
        p_out += C * s_out_t
        p_inverse += C * C
        p_attention += C * C
        p_rows += 4 * C

    _store_state(p_final_state + i_bh * K * V, b_state_1, o_v, 0, KEY_1, K, V)
    if KEY_2 > 0:
        _store_state(p_final_state + i_bh * K * V, b_state_2, o_v, KEY_1, KEY_2, K, V)
    if KEY_3 > 0:
        _store_state(p_final_state + i_bh * K * V, b_state_3, o_v, KEY_1 + KEY_2, KEY_3, K, V)
