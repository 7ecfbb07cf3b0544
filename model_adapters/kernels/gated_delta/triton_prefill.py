"""Prefill of the gated delta rule in Triton: two kernels, forward only, from an initial to a final state.

One chunk of C = 64 tokens changes a head's state S (K × V) as follows, with L = tril(beta K K^T decay, -1):

    written = (I + L)^-1 beta (V - decay_from_start K S)          the rows that the chunk writes to the state
    out     = decay_from_start Q S + tril(Q K^T decay) written
    S'      = decay_of_chunk S + (decay_to_end K)^T written

Operands of 16 bits are multiplied in fp16, which is 8 times as precise as bf16: with beta near 2 and little decay, the
rounding errors of S, the bracket, the inverse and the written rows accumulate over chunks, to 1.3 % in bf16 after 1,000
tokens. The bracket is split into two numbers, its fp16 value and the remainder. fp16 lacks range, so the rows of q and
k are scaled by powers of two, which is exact, to norms between 1/2 and 1, and each value column of S is scaled by a
power of two that is chosen per chunk from an upper bound: for keys of norm 1 and beta up to 2, a token adds at most 2
|v| to the norm of a column of S. Keys that are not normalised have no such bound and are computed in fp32.

`prepare_chunks` computes what does not depend on S for all chunks at once: the scaled rows, (I + L)^-1 beta, tril(Q K^T
decay), and the row factors into which the rest of the normalisation of q and k folds. `scan_chunks` then processes the
chunks in order, one program per block of value columns, and keeps S transposed in registers: all left operands are
accumulators, and only inputs use shared memory. Only V has to be transposed, which the tensor cores do by a product
with the identity. Only the last state is written.

The kernels are in prepare_kernel.py and scan_kernel.py.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from model_adapters.kernels.gated_delta.arguments import (
    MAX_HEAD_SIZE,
    RawGates,
    check_arguments,
    check_kernel_tensors,
    check_out,
    gate_tensors,
)
from model_adapters.kernels.gated_delta.prepare_kernel import prepare_chunks
from model_adapters.kernels.gated_delta.reference import NORMALIZATION_EPSILON
from model_adapters.kernels.gated_delta.scan_kernel import scan_chunks
from model_adapters.kernels.packed_rows import CHUNK_TOKENS, PackedRows, check_packed, equal_rows
from model_adapters.kernels.sizes import cdiv, next_power_of_2


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillLaunch:
    """Launch parameters of the two kernels; `piece_tokens` bounds the scratch memory between them.

    With several pieces it is allocated twice, because one piece is prepared while another is scanned.
    """

    piece_tokens: int = 8192
    value_block: int = 64
    scan_stages: int = 3
    prepare_registers: int | None = 168
    """Maximum registers per thread; fewer let more programs share a multiprocessor."""


def choose_prefill_launch(*, key_size: int, value_size: int, dtype: torch.dtype) -> PrefillLaunch:
    """Launch configuration for a shape, without autotuning, which needs a driver and time in the first call."""
    exact = dtype == torch.float32
    value_block = min(32 if exact or key_size > 128 else 64, max(16, next_power_of_2(value_size)))
    if exact:
        # One stage gave wrong results for bf16 on an H100 (Triton 3.6) and right ones here, where tiles fit only once.
        return PrefillLaunch(value_block=value_block, scan_stages=1, prepare_registers=None)
    return PrefillLaunch(value_block=value_block)


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
    rows: PackedRows | None = None,
    normalize_qk: bool = True,
    launch: PrefillLaunch | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and final state of a segment: `(out_BTHV, final_state_BHKV)`, out in v's dtype and states in fp32.

    Gates are either given (`log_decay_BTH` at most 0 and `beta_BTH` in [0, 2]) or raw (`raw_gates`, then the
    non-linearities are computed here). q, k and v may be strided views with contiguous last dimension, all of one
    dtype (bf16, fp16 or fp32); head sizes go up to 256. `final_state_BHKV` may be the initial state, then updated in
    place. With `rows`, B is 1, the tokens are those of several rows, and both states are one tensor with those of all
    slots. Values and states may reach 1e17. Raises ValueError for shapes, dtypes, strides or devices that do not fit.

    The chunked form is that of Yang et al., "Gated Delta Networks" (arXiv:2412.06464).
    """
    first_gate, second_gate = gate_tensors(log_decay_BTH, beta_BTH, raw_gates)
    check_arguments(q_BTHK, k_BTHK, v_BTHV, first_gate, second_gate, initial_state_BHKV if rows is None else None)
    check_kernel_tensors(q_BTHK, k_BTHK, v_BTHV, initial_state_BHKV, raw_gates, max_head_size=MAX_HEAD_SIZE)
    sequences, tokens, value_heads, value_size = v_BTHV.shape
    key_size = q_BTHK.shape[-1]
    if rows is None:
        rows = equal_rows(sequences, tokens, v_BTHV.device, continues=initial_state_BHKV is not None)
    else:
        if sequences != 1 or initial_state_BHKV is None or final_state_BHKV is not initial_state_BHKV:
            raise ValueError(f"rows are in one sequence, not {sequences}, and update the states of all slots in place")
        check_packed(rows, tokens, v_BTHV.device)
        sequences = initial_state_BHKV.shape[0]
    state_shape = (sequences, value_heads, key_size, value_size)
    out = v_BTHV.new_empty(v_BTHV.shape) if out_BTHV is None else out_BTHV
    final_state = final_state_BHKV
    if final_state is None:
        final_state = torch.empty(state_shape, dtype=torch.float32, device=v_BTHV.device)
    check_out("out", out, shape=tuple(v_BTHV.shape), dtype=v_BTHV.dtype, device=v_BTHV.device)
    check_out("final_state", final_state, shape=state_shape, dtype=torch.float32, device=v_BTHV.device)
    if launch is None:
        launch = choose_prefill_launch(key_size=key_size, value_size=value_size, dtype=v_BTHV.dtype)
    q, k, v, first_gate, second_gate, flat_out = map(
        _one_after_another, (q_BTHK, k_BTHK, v_BTHV, first_gate, second_gate, out)
    )
    gates = (first_gate, second_gate, raw_gates)
    segment = _Segment(q, k, v, gates, flat_out, final_state, normalize_qk, launch, rows)
    if normalize_qk or v_BTHV.dtype == torch.float32:
        _run_pieces(segment, initial_state_BHKV)
    else:
        wide = _in_fp32(segment)
        _run_pieces(wide, initial_state_BHKV)
        out.copy_(wide.out.view(out.shape))
    return out, final_state


def _one_after_another(x_BT: torch.Tensor) -> torch.Tensor:
    """All sequences in one, [1, B × T, ...]."""
    return x_BT if len(x_BT) == 1 else x_BT.flatten(0, 1)[None]


@dataclass(frozen=True, slots=True)
class _Segment:
    """The tensors of one call, checked, with all rows in one sequence."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    gates: tuple[torch.Tensor, torch.Tensor, RawGates | None]
    out: torch.Tensor
    final_state: torch.Tensor
    normalize_qk: bool
    launch: PrefillLaunch
    rows: PackedRows


def _in_fp32(segment: _Segment) -> _Segment:
    """The same call on fp32 copies, the final state's own tensor kept."""
    q, k, v = segment.q.float(), segment.k.float(), segment.v.float()
    launch = choose_prefill_launch(key_size=k.shape[3], value_size=v.shape[3], dtype=torch.float32)
    launch = replace(launch, piece_tokens=segment.launch.piece_tokens)
    return replace(segment, q=q, k=k, v=v, out=torch.empty_like(v), launch=launch)


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Results of the first kernel for the second, for every head and chunk of one piece or of all packed rows."""

    scaled_q: torch.Tensor
    scaled_k: torch.Tensor
    inverse: torch.Tensor
    attention: torch.Tensor
    rows: torch.Tensor

    @classmethod
    def for_piece(cls, segment: _Segment, piece_tokens: int) -> "_Scratch":
        rows, heads, (key_heads, key_size) = segment.rows, segment.v.shape[2], segment.k.shape[2:]
        chunks = min(rows.chunks, len(rows.table_B6) * cdiv(piece_tokens, CHUNK_TOKENS))
        dtype = torch.float32 if segment.v.dtype == torch.float32 else torch.float16
        scaled = (key_heads, chunks, CHUNK_TOKENS, sum(split_key_size(key_size)))
        square = (heads, chunks, CHUNK_TOKENS, CHUNK_TOKENS)
        device = segment.v.device
        return cls(
            scaled_q=torch.empty(scaled, dtype=dtype, device=device),
            scaled_k=torch.empty(scaled, dtype=dtype, device=device),
            inverse=torch.empty(square, dtype=dtype, device=device),
            attention=torch.empty(square, dtype=dtype, device=device),
            rows=torch.empty((heads, chunks, 4, CHUNK_TOKENS), dtype=torch.float32, device=device),
        )


def _run_pieces(segment: _Segment, initial_state: torch.Tensor | None) -> None:
    rows, tokens = segment.rows, segment.rows.longest
    piece_tokens = tokens
    # The state between two pieces is stored, and the chunks of several rows are numbered through.
    if len(rows.table_B6) == 1 and rows.any_kept:
        piece_tokens = min(tokens, max(CHUNK_TOKENS, segment.launch.piece_tokens // CHUNK_TOKENS * CHUNK_TOKENS))
    pieces = [(start, min(start + piece_tokens, tokens)) for start in range(0, tokens, piece_tokens)]
    if len(pieces) > 1 and segment.v.device.type == "cuda":
        _run_overlapped(segment, pieces, initial_state)
        return
    scratch = _Scratch.for_piece(segment, piece_tokens)
    state = initial_state
    for piece in pieces:
        _prepare(segment, scratch, *piece)
        _scan(segment, scratch, *piece, state)
        state = segment.final_state


def _run_overlapped(segment: _Segment, pieces: list[tuple[int, int]], initial_state: torch.Tensor | None) -> None:
    """Prepare each piece on a second stream while the one before is scanned: a scan leaves a third of a GPU idle."""
    current, ahead = torch.cuda.current_stream(segment.v.device), _second_stream(segment.v.device)
    scratch = [_Scratch.for_piece(segment, pieces[0][1]) for _ in range(2)]
    _prepare(segment, scratch[0], *pieces[0])
    state = initial_state
    for index, piece in enumerate(pieces):
        if index > 0:
            # After the last of these the second stream no longer uses the scratch memory.
            current.wait_stream(ahead)
        last_scan = current.record_event()
        # Launched first, because the few programs of a scan find no free multiprocessor once preparation has begun.
        _scan(segment, scratch[index % 2], *piece, state)
        state = segment.final_state
        if index + 1 < len(pieces):
            ahead.wait_event(last_scan)
            with torch.cuda.stream(ahead):
                _prepare(segment, scratch[(index + 1) % 2], *pieces[index + 1])


@lru_cache(maxsize=8)
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def split_key_size(key_size: int) -> tuple[int, int, int]:
    """Powers of two that cover a key size in at most three parts (0 for a part not needed): 96 is 64 + 32."""
    parts = []
    rest = key_size
    while rest > 0 and len(parts) < 2:
        parts.append(16 if rest < 16 else min(128, 1 << (rest.bit_length() - 1)))
        rest -= parts[-1]
    parts.append(max(16, next_power_of_2(rest)) if rest > 0 else 0)
    first, second, third = [*parts, 0][:3]
    return first, second, third


def _prepare(segment: _Segment, scratch: _Scratch, start: int, stop: int) -> None:
    q, k, v = segment.q, segment.k, segment.v
    decay, beta, raw = segment.gates
    heads, key_heads, key_size = v.shape[2], k.shape[2], k.shape[3]
    key_1, key_2, key_3 = split_key_size(key_size)
    table = segment.rows.table_B6
    grid = (len(table) * heads, cdiv(stop - start, CHUNK_TOKENS))
    exact = v.dtype == torch.float32
    prepare_chunks[grid](
        q,
        k,
        decay,
        beta,
        decay if raw is None else raw.decay_rate_log,
        decay if raw is None else raw.decay_bias,
        scratch.scaled_q,
        scratch.scaled_k,
        scratch.inverse,
        scratch.attention,
        scratch.rows,
        table,
        *q.stride()[1:3],
        *k.stride()[1:3],
        *decay.stride()[1:],
        *beta.stride()[1:],
        start,
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
        HALF=not exact,
        PRECISION="tf32x3" if exact else "tf32",
        num_warps=4,
        num_stages=1,
        maxnreg=segment.launch.prepare_registers,
    )


def _scan(segment: _Segment, scratch: _Scratch, start: int, stop: int, state: torch.Tensor | None) -> None:
    k, v, launch = segment.k, segment.v, segment.launch
    heads, key_heads, key_size, value_size = v.shape[2], k.shape[2], k.shape[3], v.shape[3]
    key_1, key_2, key_3 = split_key_size(key_size)
    table = segment.rows.table_B6
    grid = (cdiv(value_size, launch.value_block), len(table) * heads)
    scan_chunks[grid](
        scratch.scaled_q,
        scratch.scaled_k,
        v,
        segment.out,
        scratch.inverse,
        scratch.attention,
        scratch.rows,
        segment.final_state if state is None else state,
        segment.final_state,
        table,
        *v.stride()[1:3],
        *segment.out.stride()[1:3],
        start,
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
        HALF=v.dtype != torch.float32,
        PRECISION="tf32x3" if v.dtype == torch.float32 else "tf32",
        num_warps=4,
        num_stages=launch.scan_stages,
    )
