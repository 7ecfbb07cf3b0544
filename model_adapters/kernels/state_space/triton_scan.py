"""Mamba-2's state space recurrence over many tokens in Triton, in chunks that run in parallel.

Three kernels: what each chunk adds to the state; the state before each chunk, passed from chunk to chunk; the outputs.
Dao and Gu, Transformers are SSMs (2024), section 6. No exponent is positive: each is a decay between two tokens.

Shape suffixes as in reference.py, and C chunks. Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block,
s_ stride.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from model_adapters.kernels.sizes import cdiv, next_power_of_2

KERNEL_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
MAX_HEAD_SIZE = 128


@dataclass(frozen=True, slots=True)
class ScanLaunch:
    """Sizes of chunks and blocks, in tokens, and of a block of the state."""

    chunk: int = 256
    rows: int = 64
    state_block: int = 128
    pass_block: int = 1024
    warps: int = 4
    stages: int = 1


def scan_state_space(
    x_BTHP: torch.Tensor,
    keys_BTGN: torch.Tensor,
    queries_BTGN: torch.Tensor,
    *,
    steps_BTH: torch.Tensor,
    rates_H: torch.Tensor,
    skip_H: torch.Tensor | None,
    initial_state_BHPN: torch.Tensor | None,
    launch: ScanLaunch | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs [B, T, H, P] in x's dtype and the final state [B, H, P, N] in fp32, as `reference.scan_state_space`.

    Memory in addition to the outputs is the state once per chunk. Raises ValueError for shapes, dtypes or devices that
    do not fit.
    """
    launch = launch or ScanLaunch()
    _check(x_BTHP, keys_BTGN, queries_BTGN, steps_BTH, rates_H, skip_H, initial_state_BHPN)
    sequences, tokens, heads, size = x_BTHP.shape
    groups, state_size = keys_BTGN.shape[2:]
    x, keys, queries = (_dense_heads(each) for each in (x_BTHP, keys_BTGN, queries_BTGN))
    chunks = cdiv(tokens, launch.chunk)
    steps_BHT, decay_BHT = _decays(steps_BTH, rates_H, chunks * launch.chunk, launch.chunk)
    states_BCHPN = torch.empty((sequences, chunks, heads, size, state_size), dtype=torch.float32, device=x.device)
    # The outputs' products round the states in any case; states may leave the range of fp16.
    before_BCHPN = torch.empty_like(states_BCHPN, dtype=x.dtype if x.dtype == torch.bfloat16 else torch.float32)
    final = torch.empty((sequences, heads, size, state_size), dtype=torch.float32, device=x.device)
    out = torch.empty((sequences, tokens, heads, size), dtype=x.dtype, device=x.device)
    sizes = {
        "CHUNK": launch.chunk,
        "ROWS": launch.rows,
        "P": size,
        "BP": max(16, next_power_of_2(size)),
        "N": state_size,
        "BN": min(max(16, next_power_of_2(state_size)), launch.state_block),
        "WIDE": x.dtype != torch.bfloat16,
        "PRECISION": "tf32x3" if x.dtype == torch.float32 else "tf32",
    }
    options = {"num_warps": launch.warps, "num_stages": launch.stages}
    strides = (*x.stride()[:2], *keys.stride()[:2])
    _written_states[(chunks, cdiv(state_size, sizes["BN"]), sequences * heads)](
        x,
        keys,
        steps_BHT,
        decay_BHT,
        states_BCHPN,
        *strides,
        tokens,
        chunks,
        heads,
        heads // groups,
        **sizes,
        **options,
    )
    elements = size * state_size
    _pass_states[(cdiv(elements, launch.pass_block), sequences * heads)](
        states_BCHPN, decay_BHT, initial_state_BHPN, before_BCHPN, final, chunks, heads, elements,
        HAS_STATE=initial_state_BHPN is not None, CHUNK=launch.chunk, BLOCK=launch.pass_block, num_warps=4,
    )  # fmt: skip
    _outputs[(chunks * (launch.chunk // launch.rows), sequences * heads)](
        x, keys, queries, steps_BHT, decay_BHT, before_BCHPN, skip_H, out, *strides, *queries.stride()[:2],
        tokens, chunks, heads, heads // groups, HAS_SKIP=skip_H is not None, **sizes, **options,
    )  # fmt: skip
    return out, final


def _decays(
    steps_BTH: torch.Tensor, rates_H: torch.Tensor, padded: int, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Step sizes and the logarithm of the decay since the start of each chunk, [B, H, padded] in fp32."""
    steps_BHT = steps_BTH.float().transpose(1, 2)
    steps_BHT = torch.nn.functional.pad(steps_BHT, (0, padded - steps_BHT.shape[-1])).contiguous()
    logs = steps_BHT * rates_H.float()[:, None]
    return steps_BHT, logs.unflatten(-1, (-1, chunk)).cumsum(-1).flatten(-2)


def _dense_heads(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor if its heads lie side by side, otherwise a copy."""
    dense = tensor.stride(-1) == 1 and tensor.stride(-2) == tensor.shape[-1]
    return tensor if dense else tensor.contiguous()


def _check(
    x: torch.Tensor,
    keys: torch.Tensor,
    queries: torch.Tensor,
    steps: torch.Tensor,
    rates: torch.Tensor,
    skip: torch.Tensor | None,
    state: torch.Tensor | None,
) -> None:
    sequences, tokens, heads, size = x.shape
    groups, state_size = keys.shape[2:]
    if x.dtype not in KERNEL_DTYPES or size > MAX_HEAD_SIZE or tokens == 0:
        raise ValueError(
            f"x is {tuple(x.shape)} {x.dtype}; 1 token or more, heads of up to {MAX_HEAD_SIZE}, fp16 to fp32"
        )
    if groups == 0 or heads % groups:
        raise ValueError(f"{heads} heads must be a multiple of the {groups} groups of keys")
    expected: list[tuple[str, torch.Tensor | None, tuple[int, ...]]] = [
        ("keys", keys, (sequences, tokens, groups, state_size)),
        ("queries", queries, (sequences, tokens, groups, state_size)),
        ("steps", steps, (sequences, tokens, heads)),
        ("rates", rates, (heads,)),
        ("skip", skip, (heads,)),
        ("state", state, (sequences, heads, size, state_size)),
    ]
    for name, tensor, shape in expected:
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape or tensor.device != x.device:
            raise ValueError(f"{name} is {tuple(tensor.shape)} on {tensor.device}; {shape} on {x.device} is needed")
    for name, tensor in (("keys", keys), ("queries", queries)):
        if tensor.dtype != x.dtype:
            raise ValueError(f"{name} are {tensor.dtype} and x is {x.dtype}; they must be alike")
    if state is not None and (state.dtype != torch.float32 or not state.is_contiguous()):
        raise ValueError(f"state is {state.dtype} with strides {state.stride()}; contiguous fp32 is needed")


@triton.jit(do_not_specialize=["T", "C", "H", "SHARED"])
def _written_states(
    p_x, p_keys, p_steps, p_decay, p_states, s_x_b, s_x_t, s_k_b, s_k_t, T, C, H, SHARED,
    CHUNK: tl.constexpr, ROWS: tl.constexpr, P: tl.constexpr, BP: tl.constexpr, N: tl.constexpr, BN: tl.constexpr,
    WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What one chunk adds to a block of its head's state, as of the chunk's end."""
    i_c, i_bh = tl.program_id(0).to(tl.int64), tl.program_id(2).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    o_p, o_n = tl.arange(0, BP), tl.program_id(1) * BN + tl.arange(0, BN)
    p_row = i_bh * C * CHUNK
    b_end = tl.load(p_decay + p_row + i_c * CHUNK + CHUNK - 1)
    b_state = tl.zeros((BP, BN), tl.float32)
    for first in range(0, CHUNK, ROWS):
        o_t = i_c * CHUNK + first + tl.arange(0, ROWS)
        m_t = o_t < T
        p_x_rows = p_x + i_b * s_x_b + o_t[:, None] * s_x_t + i_h * P + o_p[None, :]
        p_k_rows = p_keys + i_b * s_k_b + o_t[:, None] * s_k_t + (i_h // SHARED) * N + o_n[None, :]
        b_x = tl.load(p_x_rows, mask=m_t[:, None] & (o_p < P)[None, :], other=0.0)
        b_k = tl.load(p_k_rows, mask=m_t[:, None] & (o_n < N)[None, :], other=0.0)
        b_weight = tl.load(p_steps + p_row + o_t) * tl.exp(b_end - tl.load(p_decay + p_row + o_t))
        b_x = b_x.to(tl.float32) * b_weight[:, None]
        if WIDE:
            b_state = tl.dot(tl.trans(b_x), b_k.to(tl.float32), acc=b_state, input_precision=PRECISION)
        else:
            b_state = tl.dot(tl.trans(b_x.to(b_k.dtype)), b_k, acc=b_state)
    p_out = p_states + ((i_b * C + i_c) * H + i_h) * P * N + o_p[:, None] * N + o_n[None, :]
    tl.store(p_out, b_state, mask=(o_p < P)[:, None] & (o_n < N)[None, :])


@triton.jit(do_not_specialize=["C", "H", "E"])
def _pass_states(
    p_written, p_decay, p_initial, p_before, p_final, C, H, E,
    HAS_STATE: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The state before each chunk, from what the chunks add to it, and the one after the last."""
    i_bh = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    o_e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_e = o_e < E
    b_state = tl.load(p_initial + i_bh * E + o_e, mask=m_e, other=0.0) if HAS_STATE else tl.zeros((BLOCK,), tl.float32)
    s_c = H * E
    o_state = (i_b * C * H + i_h) * E + o_e
    o_last = o_state + (C - 1) * s_c
    b_written = tl.load(p_written + o_state, mask=m_e, other=0.0)
    for i_c in range(C):
        # Ahead of the sum, so that a chunk does not wait for the memory of the next.
        b_next = tl.load(p_written + tl.minimum(o_state + s_c, o_last), mask=m_e, other=0.0)
        tl.store(p_before + o_state, b_state.to(p_before.dtype.element_ty), mask=m_e)
        b_state = b_state * tl.exp(tl.load(p_decay + i_bh * C * CHUNK + i_c * CHUNK + CHUNK - 1)) + b_written
        b_written = b_next
        o_state += s_c
    tl.store(p_final + i_bh * E + o_e, b_state, mask=m_e)


@triton.jit(do_not_specialize=["T", "C", "H", "SHARED"])
def _outputs(
    p_x, p_keys, p_queries, p_steps, p_decay, p_states, p_skip, p_out,
    s_x_b, s_x_t, s_k_b, s_k_t, s_q_b, s_q_t, T, C, H, SHARED,
    HAS_SKIP: tl.constexpr, CHUNK: tl.constexpr, ROWS: tl.constexpr, P: tl.constexpr, BP: tl.constexpr,
    N: tl.constexpr, BN: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The outputs of one block of rows: from the state before the chunk, and from the chunk's rows up to each."""
    BLOCKS: tl.constexpr = CHUNK // ROWS
    i_row, i_bh = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    i_c, i_m = i_row // BLOCKS, i_row % BLOCKS
    i_b, i_h = i_bh // H, i_bh % H
    o_p = tl.arange(0, BP)
    o_t = i_c * CHUNK + i_m * ROWS + tl.arange(0, ROWS)
    m_t = o_t < T
    p_row = i_bh * C * CHUNK
    p_state = p_states + ((i_b * C + i_c) * H + i_h) * P * N
    p_q_rows = p_queries + i_b * s_q_b + o_t[:, None] * s_q_t + (i_h // SHARED) * N
    b_decay = tl.load(p_decay + p_row + o_t)
    b_out = tl.zeros((ROWS, BP), tl.float32)
    for first in tl.static_range(0, N, BN):
        o_n = first + tl.arange(0, BN)
        b_q = tl.load(p_q_rows + o_n[None, :], mask=m_t[:, None] & (o_n < N)[None, :], other=0.0)
        m_state = (o_p < P)[:, None] & (o_n < N)[None, :]
        b_state = tl.load(p_state + o_p[:, None] * N + o_n[None, :], mask=m_state, other=0.0)
        if WIDE:
            b_out = tl.dot(b_q.to(tl.float32), tl.trans(b_state), acc=b_out, input_precision=PRECISION)
        else:
            b_out = tl.dot(b_q, tl.trans(b_state), acc=b_out)
    b_out *= tl.exp(b_decay)[:, None]
    for i_k in range(i_m + 1):
        o_s = i_c * CHUNK + i_k * ROWS + tl.arange(0, ROWS)
        m_s = o_s < T
        p_k_rows = p_keys + i_b * s_k_b + o_s[:, None] * s_k_t + (i_h // SHARED) * N
        b_scores = tl.zeros((ROWS, ROWS), tl.float32)
        for first in tl.static_range(0, N, BN):
            o_n = first + tl.arange(0, BN)
            if N > BN:
                b_q = tl.load(p_q_rows + o_n[None, :], mask=m_t[:, None] & (o_n < N)[None, :], other=0.0)
            b_k = tl.load(p_k_rows + o_n[None, :], mask=m_s[:, None] & (o_n < N)[None, :], other=0.0)
            b_scores = tl.dot(b_q, tl.trans(b_k), acc=b_scores, input_precision=PRECISION)
        b_between = b_decay[:, None] - tl.load(p_decay + p_row + o_s)[None, :]
        b_scores *= tl.exp(tl.where(o_s[None, :] <= o_t[:, None], b_between, float("-inf")))
        b_scores *= tl.load(p_steps + p_row + o_s)[None, :]
        p_x_rows = p_x + i_b * s_x_b + o_s[:, None] * s_x_t + i_h * P + o_p[None, :]
        b_x = tl.load(p_x_rows, mask=m_s[:, None] & (o_p < P)[None, :], other=0.0)
        if WIDE:
            b_out = tl.dot(b_scores, b_x.to(tl.float32), acc=b_out, input_precision=PRECISION)
        else:
            b_out = tl.dot(b_scores.to(b_x.dtype), b_x, acc=b_out)
    m_out = m_t[:, None] & (o_p < P)[None, :]
    if HAS_SKIP:
        p_x_rows = p_x + i_b * s_x_b + o_t[:, None] * s_x_t + i_h * P + o_p[None, :]
        b_out += tl.load(p_skip + i_h).to(tl.float32) * tl.load(p_x_rows, mask=m_out, other=0.0).to(tl.float32)
    p_y = p_out + ((i_b * T + o_t[:, None]) * H + i_h) * P + o_p[None, :]
    tl.store(p_y, b_out.to(p_out.dtype.element_ty), mask=m_out)
