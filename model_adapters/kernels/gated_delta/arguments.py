"""Checks of the tensors that every form of the gated delta rule takes, with errors of one line."""

from dataclasses import dataclass

import torch

from model_adapters.kernels.trial import KERNEL_DTYPES

MAX_HEAD_SIZE = 256


def check_arguments(
    q_BTHK: torch.Tensor,
    k_BTHK: torch.Tensor,
    v_BTHV: torch.Tensor,
    log_decay_BTH: torch.Tensor,
    beta_BTH: torch.Tensor,
    state_BHKV: torch.Tensor | None,
) -> None:
    """Raise ValueError with the tensor, its shape and the expected one if arguments do not fit together."""
    if q_BTHK.dim() != 4 or v_BTHV.dim() != 4:
        raise ValueError(f"q {tuple(q_BTHK.shape)} and v {tuple(v_BTHV.shape)} must be [B, T, heads, size]")
    sequences, tokens, key_heads, key_size = q_BTHK.shape
    value_heads, value_size = v_BTHV.shape[2:]
    if tokens == 0:
        raise ValueError("q has no tokens; the gated delta rule needs at least one")
    if key_heads == 0 or value_heads % key_heads:
        raise ValueError(f"{value_heads} value heads must be a multiple of the {key_heads} key heads")
    expected: list[tuple[str, torch.Tensor, tuple[int, ...]]] = [
        ("k", k_BTHK, (sequences, tokens, key_heads, key_size)),
        ("v", v_BTHV, (sequences, tokens, value_heads, value_size)),
        ("log_decay", log_decay_BTH, (sequences, tokens, value_heads)),
        ("beta", beta_BTH, (sequences, tokens, value_heads)),
    ]
    if state_BHKV is not None:
        expected.append(("state", state_BHKV, (sequences, value_heads, key_size, value_size)))
    for name, tensor, shape in expected:
        check_tensor(name, tensor, shape=shape, device=q_BTHK.device)


def check_tensor(name: str, tensor: torch.Tensor, *, shape: tuple[int, ...], device: torch.device) -> None:
    """Raise ValueError unless the tensor has this shape and is on this device."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; {shape} is needed to fit the other tensors")
    if tensor.device != device:
        raise ValueError(f"{name} is on {tensor.device}, q on {device}; move them to one device")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawGates:
    """Outputs [B, T, H] of the two gate projections, with the [H] parameters of the gates.

    log_decay = -exp(decay_rate_log) softplus(decay_input + decay_bias) and beta = beta_scale sigmoid(beta_input),
    computed in the kernels. transformers calls decay_rate_log `A_log` and decay_bias `dt_bias`; beta_scale is 2 if
    negative eigenvalues are allowed, else 1.
    """

    decay_input: torch.Tensor
    beta_input: torch.Tensor
    decay_rate_log: torch.Tensor
    decay_bias: torch.Tensor
    beta_scale: float


def gate_tensors(
    log_decay: torch.Tensor | None, beta: torch.Tensor | None, raw_gates: RawGates | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two gate tensors to read; raises ValueError unless they are given in exactly one of the two ways."""
    if raw_gates is not None and log_decay is None and beta is None:
        return raw_gates.decay_input, raw_gates.beta_input
    if raw_gates is None and log_decay is not None and beta is not None:
        return log_decay, beta
    raise ValueError("give either log_decay and beta, or raw_gates alone")


def check_kernel_tensors(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor | None,
    raw_gates: RawGates | None,
    *,
    max_head_size: int,
) -> None:
    """Raise ValueError if tensors that fit together have a dtype, size or stride that the kernels do not support."""
    if v.dtype not in KERNEL_DTYPES or q.dtype != v.dtype or k.dtype != v.dtype:
        raise ValueError(f"q, k, v are {q.dtype}, {k.dtype}, {v.dtype}; the kernels take one of bf16, fp16, fp32")
    if max(q.shape[-1], v.shape[-1]) > max_head_size:
        raise ValueError(f"head sizes {q.shape[-1]} and {v.shape[-1]} exceed {max_head_size}; use the PyTorch form")
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.stride(-1) != 1:
            raise ValueError(f"{name} has stride {tensor.stride(-1)} in its last dimension; make it contiguous there")
    if state is not None and (state.dtype != torch.float32 or not state.is_contiguous()):
        raise ValueError(f"the state is {state.dtype} with strides {state.stride()}; it must be contiguous fp32")
    if raw_gates is not None:
        heads = (v.shape[-2],)
        for name, tensor in (("decay_rate_log", raw_gates.decay_rate_log), ("decay_bias", raw_gates.decay_bias)):
            check_tensor(name, tensor, shape=heads, device=q.device)
            if not tensor.is_contiguous():
                raise ValueError(f"{name} has strides {tensor.stride()}; it must be contiguous")


def check_out(
    name: str, tensor: torch.Tensor, *, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    """Raise ValueError unless a result can be written here: this shape and dtype, contiguous, on this device."""
    check_tensor(name, tensor, shape=shape, device=device)
    if tensor.dtype != dtype or not tensor.is_contiguous():
        raise ValueError(f"{name} is {tensor.dtype} with strides {tensor.stride()}; it must be contiguous {dtype}")
