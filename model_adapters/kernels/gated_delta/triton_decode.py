"""One decode step of the gated delta rule in Triton, which reads and writes every state once, in place.

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
from model_adapters.kernels.overlap import overlap, wait_for_earlier
from model_adapters.kernels.sizes import cdiv, next_power_of_2


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLaunch:
    """Launch parameters: one program per sequence, head and block of value columns."""

    value_block: int = 32
    warps: int = 4


def choose_decode_launch(*, sequences: int, value_heads: int, value_size: int) -> DecodeLaunch:
    """Launch configuration for a shape: narrow blocks while there are too few heads to fill a device."""
    widest = max(8, next_power_of_2(value_size))
    return DecodeLaunch(value_block=min(widest, 16 if sequences * value_heads < 64 else 32))


def step_gated_delta_rule(
    q_BGK: torch.Tensor,
    k_BGK: torch.Tensor,
    v_BHV: torch.Tensor,
    *,
    state_BHKV: torch.Tensor,
    log_decay_BH: torch.Tensor | None = None,
    beta_BH: torch.Tensor | None = None,
    raw_gates: RawGates | None = None,
    out_BHV: torch.Tensor | None = None,
    normalize_qk: bool = True,
    launch: DecodeLaunch | None = None,
) -> torch.Tensor:
    """Output [B, H, V] of one new token per sequence, in v's dtype; the fp32 states are updated in place.

    The G key heads serve H / G consecutive value heads each. Gates are given or raw, as in the prefill, here [B, H].
    Nothing waits for the device, so the step can be captured in a CUDA graph. Raises ValueError for shapes, dtypes,
    strides or devices that do not fit.
    """
    first_gate, second_gate = gate_tensors(log_decay_BH, beta_BH, raw_gates)
    one_token = (x.unsqueeze(1) for x in (q_BGK, k_BGK, v_BHV, first_gate, second_gate))
    check_arguments(*one_token, state_BHKV)
    check_kernel_tensors(q_BGK, k_BGK, v_BHV, state_BHKV, raw_gates, max_head_size=MAX_HEAD_SIZE)
    sequences, heads, value_size = v_BHV.shape
    key_heads, key_size = k_BGK.shape[1:]
    out = v_BHV.new_empty(v_BHV.shape) if out_BHV is None else out_BHV
    check_out("out", out, shape=tuple(v_BHV.shape), dtype=v_BHV.dtype, device=v_BHV.device)
    if launch is None:
        launch = choose_decode_launch(sequences=sequences, value_heads=heads, value_size=value_size)
    grid = (cdiv(value_size, launch.value_block), sequences * heads)
    _step[grid](
        q_BGK,
        k_BGK,
        v_BHV,
        first_gate,
        second_gate,
        first_gate if raw_gates is None else raw_gates.decay_rate_log,
        first_gate if raw_gates is None else raw_gates.decay_bias,
        state_BHKV,
        out,
        *q_BGK.stride()[:2],
        *k_BGK.stride()[:2],
        *v_BHV.stride()[:2],
        *first_gate.stride(),
        *second_gate.stride(),
        key_size**-0.5,
        1.0 if raw_gates is None else raw_gates.beta_scale,
        NORMALIZATION_EPSILON,
        H=heads,
        GROUP=heads // key_heads,
        K=key_size,
        V=value_size,
        BK=next_power_of_2(key_size),
        BV=launch.value_block,
        NORMALIZE=normalize_qk,
        RAW_GATES=raw_gates is not None,
        num_warps=launch.warps,
        **overlap(q_BGK.device),
    )
    return out


@triton.jit
def _step(
    p_q,
    p_k,
    p_v,
    p_decay,
    p_beta,
    p_decay_rate_log,
    p_decay_bias,
    p_state,
    p_out,
    s_q_b,
    s_q_h,
    s_k_b,
    s_k_h,
    s_v_b,
    s_v_h,
    s_decay_b,
    s_decay_h,
    s_beta_b,
    s_beta_h,
    scale,
    beta_scale,
    epsilon,
    H: tl.constexpr,
    GROUP: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BK: tl.constexpr,
    BV: tl.constexpr,
    NORMALIZE: tl.constexpr,
    RAW_GATES: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    i_bh = tl.program_id(1).to(tl.int64)
    i_b, i_h = i_bh // H, i_bh % H
    o_k = tl.arange(0, BK)
    o_v = tl.program_id(0) * BV + tl.arange(0, BV)
    m_k, m_v = o_k < K, o_v < V
    # The state first, because it is almost all of the bytes, and its addresses depend on nothing.
    p_tile = p_state + i_bh * K * V + o_k[:, None] * V + o_v[None, :]
    m_tile = m_k[:, None] & m_v[None, :]
    wait_for_earlier(OVERLAPS)
    b_state = tl.load(p_tile, mask=m_tile, other=0.0)
    b_k = tl.load(p_k + i_b * s_k_b + (i_h // GROUP) * s_k_h + o_k, mask=m_k, other=0.0).to(tl.float32)
    b_q = tl.load(p_q + i_b * s_q_b + (i_h // GROUP) * s_q_h + o_k, mask=m_k, other=0.0).to(tl.float32)
    b_v = tl.load(p_v + i_b * s_v_b + i_h * s_v_h + o_v, mask=m_v, other=0.0).to(tl.float32)
    log_decay, beta = load_gates(
        p_decay + i_b * s_decay_b + i_h * s_decay_h,
        p_beta + i_b * s_beta_b + i_h * s_beta_h,
        i_bh >= 0,
        p_decay_rate_log + i_h,
        p_decay_bias + i_h,
        beta_scale,
        RAW_GATES,
    )
    if NORMALIZE:
        b_k *= tl.rsqrt(tl.sum(b_k * b_k, axis=0) + epsilon)
        b_q *= tl.rsqrt(tl.sum(b_q * b_q, axis=0) + epsilon)
    b_state *= tl.exp(log_decay)
    b_recalled = tl.sum(b_state * b_k[:, None], axis=0)
    b_state += b_k[:, None] * (beta * (b_v - b_recalled))[None, :]
    b_out = tl.sum(b_state * (b_q * scale)[:, None], axis=0)
    tl.store(p_tile, b_state, mask=m_tile)
    tl.store(p_out + i_bh * V + o_v, b_out.to(p_out.dtype.element_ty), mask=m_v)
