"""One token of a Gated DeltaNet layer between its projections, in one launch: convolution, rule and gated norm.

Names: i_ program index, o_ offsets, m_ mask, p_ pointer, b_ block, s_ stride.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from model_adapters.kernels.gated_delta.arguments import MAX_HEAD_SIZE, RawGates, check_tensor
from model_adapters.kernels.gated_delta.gates import load_gates
from model_adapters.kernels.gated_delta.reference import NORMALIZATION_EPSILON
from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import next_power_of_2
from model_adapters.kernels.trial import KERNEL_DTYPES

MANY_PROGRAMS = 132
"""From so many on, small programs, several on a multiprocessor, hide each other's waits; fewer take a head at once."""
VALUE_BLOCK = 64
"""Values that a small program updates at a time."""


@dataclass(frozen=True, slots=True)
class OutputNorm:
    """The RMS norm of each head's outputs, times silu(gate)."""

    gate_BHV: torch.Tensor
    weight_V: torch.Tensor
    epsilon: float


def mix_token(
    x_BC: torch.Tensor,
    weight_CW: torch.Tensor,
    bias_C: torch.Tensor | None,
    *,
    context_BCW: torch.Tensor,
    gates: RawGates,
    state_BHKV: torch.Tensor,
    norm: OutputNorm,
) -> torch.Tensor:
    """Outputs [B, H, V] of one token per sequence, in x's dtype; contexts and fp32 states are updated in place.

    x holds queries, keys and values of all heads, C = H (2 K + V) channels; as many key heads as value heads. Like
    `convolve_token`, `step_gated_delta_rule` and `rms_norm` one after another, with roundings in the same places.
    Raises ValueError for shapes, dtypes, strides or devices that do not fit.
    """
    sequences, heads, key_size, value_size = state_BHKV.shape
    _check(x_BC, weight_CW, bias_C, context_BCW, gates, state_BHKV, norm)
    out = torch.empty((sequences, heads, value_size), dtype=x_BC.dtype, device=x_BC.device)
    width = weight_CW.shape[1]
    block, warps = next_power_of_2(value_size), 8
    if sequences * heads >= MANY_PROGRAMS:
        block, warps = min(block, VALUE_BLOCK), 4
    _mix[(heads, sequences)](
        x_BC,
        weight_CW,
        weight_CW if bias_C is None else bias_C,
        context_BCW,
        gates.decay_input,
        gates.beta_input,
        gates.decay_rate_log,
        gates.decay_bias,
        state_BHKV,
        norm.gate_BHV,
        norm.weight_V,
        out,
        x_BC.stride(0),
        *context_BCW.stride()[:2],
        *gates.decay_input.stride(),
        *gates.beta_input.stride(),
        *norm.gate_BHV.stride()[:2],
        gates.beta_scale,
        key_size**-0.5,
        NORMALIZATION_EPSILON,
        norm.epsilon,
        H=heads,
        K=key_size,
        V=value_size,
        W=width,
        BK=next_power_of_2(key_size),
        BV=block,
        BW=next_power_of_2(width),
        HAS_BIAS=bias_C is not None,
        num_warps=warps,
        **overlap(x_BC.device),
    )
    return out


def _check(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    context: torch.Tensor,
    gates: RawGates,
    state: torch.Tensor,
    norm: OutputNorm,
) -> None:
    sequences, heads, key_size, value_size = state.shape
    channels, width = heads * (2 * key_size + value_size), weight.shape[-1]
    tensors = [
        ("x", x, (sequences, channels)),
        ("weight", weight, (channels, width)),
        ("context", context, (sequences, channels, width)),
        ("decay_input", gates.decay_input, (sequences, heads)),
        ("beta_input", gates.beta_input, (sequences, heads)),
        ("decay_rate_log", gates.decay_rate_log, (heads,)),
        ("decay_bias", gates.decay_bias, (heads,)),
        ("gate", norm.gate_BHV, (sequences, heads, value_size)),
        ("norm weight", norm.weight_V, (value_size,)),
        *([] if bias is None else [("bias", bias, (channels,))]),
    ]
    for name, tensor, shape in tensors:
        check_tensor(name, tensor, shape=shape, device=x.device)
        if tensor.stride(-1) != 1 and name not in ("decay_input", "beta_input"):
            raise ValueError(f"{name} has strides {tensor.stride()}; make it contiguous in its last dimension")
    if not weight.is_contiguous() or state.dtype != torch.float32 or not state.is_contiguous():
        raise ValueError(f"the weight must be contiguous, and the state, {state.dtype}, contiguous fp32")
    if x.dtype not in KERNEL_DTYPES or context.dtype != x.dtype or max(key_size, value_size) > MAX_HEAD_SIZE:
        raise ValueError(
            f"x is {x.dtype}, context {context.dtype}, head sizes {key_size} and {value_size}; "
            f"one of bf16, fp16, fp32 and at most {MAX_HEAD_SIZE} are needed"
        )


@triton.jit
def _silu(b_x):
    return b_x / (1.0 + tl.exp(-b_x))


@triton.jit
def _weights(p_weight, o_c, m_c, W: tl.constexpr, BW: tl.constexpr):
    o_w = tl.arange(0, BW)
    m_place = m_c[:, None] & (o_w < W)[None, :]
    return tl.load(p_weight + o_c[:, None] * W + o_w[None, :], mask=m_place, other=0.0).to(tl.float32)


@triton.jit
def _seen(p_x, p_context, s_context_c, o_c, m_c, W: tl.constexpr, BW: tl.constexpr):
    """The last W inputs of some channels, the new one included."""
    o_w = tl.arange(0, BW)
    b_new = tl.load(p_x + o_c, mask=m_c, other=0.0)
    p_place = p_context + o_c[:, None] * s_context_c + o_w[None, :]
    b_seen = tl.load(p_place + 1, mask=m_c[:, None] & (o_w < W - 1)[None, :], other=0.0)
    return tl.where((o_w == W - 1)[None, :], b_new[:, None], b_seen)


@triton.jit
def _keep(p_context, s_context_c, b_seen, o_c, m_c, W: tl.constexpr, BW: tl.constexpr):
    o_w = tl.arange(0, BW)
    m_place = m_c[:, None] & (o_w < W)[None, :]
    tl.store(p_context + o_c[:, None] * s_context_c + o_w[None, :], b_seen, mask=m_place)


@triton.jit
def _convolved(b_seen, b_weight, p_bias, o_c, m_c, HAS_BIAS: tl.constexpr):
    """silu of the weighted sum, rounded as a tensor in between would be."""
    b_sum = tl.sum(b_weight * b_seen.to(tl.float32), axis=1)
    if HAS_BIAS:
        b_sum += tl.load(p_bias + o_c, mask=m_c, other=0.0).to(tl.float32)
    return _silu(b_sum).to(b_seen.dtype).to(tl.float32)


@triton.jit
def _mix(
    p_x,
    p_weight,
    p_bias,
    p_context,
    p_decay,
    p_beta,
    p_decay_rate_log,
    p_decay_bias,
    p_state,
    p_gate,
    p_norm,
    p_out,
    s_x_b,
    s_context_b,
    s_context_c,
    s_decay_b,
    s_decay_h,
    s_beta_b,
    s_beta_h,
    s_gate_b,
    s_gate_h,
    beta_scale,
    scale,
    qk_epsilon,
    norm_epsilon,
    H: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    W: tl.constexpr,
    BK: tl.constexpr,
    BV: tl.constexpr,
    BW: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    i_h, i_b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    o_k, o_v = tl.arange(0, BK), tl.arange(0, BV)
    m_k = o_k < K
    o_q, o_key, o_value = i_h * K + o_k, (H + i_h) * K + o_k, 2 * H * K + i_h * V + o_v
    p_x += i_b * s_x_b
    p_context += i_b * s_context_b
    p_gate += i_b * s_gate_b + i_h * s_gate_h
    p_out += (i_b * H + i_h) * V
    p_tile = p_state + (i_b * H + i_h) * K * V + o_k[:, None] * V + o_v[None, :]
    b_q_weight, b_k_weight = _weights(p_weight, o_q, m_k, W, BW), _weights(p_weight, o_key, m_k, W, BW)
    b_v_weights, b_norms = (), ()
    for first in tl.static_range(0, V, BV):
        b_v_weight = _weights(p_weight, o_value + first, o_v + first < V, W, BW)
        b_norm = tl.load(p_norm + first + o_v, mask=o_v + first < V, other=0.0)
        b_v_weights = b_v_weights + (b_v_weight,)  # noqa: RUF005 - Triton does not unpack tuples
        b_norms = b_norms + (b_norm,)  # noqa: RUF005
    wait_for_earlier(OVERLAPS)

    # All inputs are read before any is written: a place is read one to the right of where it is written.
    b_inputs = ()
    for first in tl.static_range(0, V, BV):
        b_input = _seen(p_x, p_context, s_context_c, o_value + first, o_v + first < V, W, BW)
        b_inputs = b_inputs + (b_input,)  # noqa: RUF005
    b_q_seen = _seen(p_x, p_context, s_context_c, o_q, m_k, W, BW)
    b_k_seen = _seen(p_x, p_context, s_context_c, o_key, m_k, W, BW)
    log_decay, beta = load_gates(
        p_decay + i_b * s_decay_b + i_h * s_decay_h,
        p_beta + i_b * s_beta_b + i_h * s_beta_h,
        i_b >= 0,
        p_decay_rate_log + i_h,
        p_decay_bias + i_h,
        beta_scale,
        True,
    )
    tl.debug_barrier()
    _keep(p_context, s_context_c, b_q_seen, o_q, m_k, W, BW)
    _keep(p_context, s_context_c, b_k_seen, o_key, m_k, W, BW)
    b_q = _convolved(b_q_seen, b_q_weight, p_bias, o_q, m_k, HAS_BIAS)
    b_k = _convolved(b_k_seen, b_k_weight, p_bias, o_key, m_k, HAS_BIAS)
    b_k *= tl.rsqrt(tl.sum(b_k * b_k, axis=0) + qk_epsilon)
    b_q *= tl.rsqrt(tl.sum(b_q * b_q, axis=0) + qk_epsilon) * scale

    b_outs = ()
    squares = 0.0
    for block in tl.static_range((V + BV - 1) // BV):
        o_c, m_v = o_value + block * BV, o_v + block * BV < V
        m_tile = m_k[:, None] & m_v[None, :]
        b_state = tl.load(p_tile + block * BV, mask=m_tile, other=0.0)
        _keep(p_context, s_context_c, b_inputs[block], o_c, m_v, W, BW)
        b_v = _convolved(b_inputs[block], b_v_weights[block], p_bias, o_c, m_v, HAS_BIAS)
        b_state *= tl.exp(log_decay)
        b_recalled = tl.sum(b_state * b_k[:, None], axis=0)
        b_state += b_k[:, None] * (beta * (b_v - b_recalled))[None, :]
        tl.store(p_tile + block * BV, b_state, mask=m_tile)
        b_out = tl.sum(b_state * b_q[:, None], axis=0).to(p_out.dtype.element_ty).to(tl.float32)
        squares += tl.sum(b_out * b_out, axis=0)
        b_outs = b_outs + (b_out,)  # noqa: RUF005
    norm = tl.rsqrt(squares / V + norm_epsilon)
    for block in tl.static_range((V + BV - 1) // BV):
        o_column = block * BV + o_v
        m_v = o_column < V
        b_out = b_outs[block] * norm * b_norms[block].to(tl.float32)
        b_out *= _silu(tl.load(p_gate + o_column, mask=m_v, other=0.0).to(tl.float32))
        tl.store(p_out + o_column, b_out.to(p_out.dtype.element_ty), mask=m_v)
