"""Decoder layers with residual sums fused into the preceding norm or matrix product, which saves a pass over memory.

Used only inside the engine; outside it a layer runs its own code.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.engine.memory.passes import TokenPass, current_pass
from model_adapters.kernels.trial import KERNEL_DTYPES
from model_adapters.module_patches import ModulePatches

NORMS_AFTER = ("Olmo2DecoderLayer", "Olmo3DecoderLayer", "OlmoHybridAttentionDecoderLayer")
"""Classes that normalize the outputs of attention and MLP before adding them to the residual."""
GATED_DELTA = ("OlmoHybridLinearAttentionDecoderLayer",)
"""Classes that normalize the inputs of the gated delta rule and the MLP, and add their outputs to the residual."""


def place_fused_layers(model: PreTrainedModel, patches: ModulePatches, *, fast_rule: bool) -> int:
    """Replace the forward of a model's decoder layers by fused ones; returns the number of layers replaced.

    The elementwise kernels must be placed first, and with `fast_rule` also the Triton gated delta rule.
    """
    placed = 0
    for layer in model.modules():
        name = type(layer).__name__
        mlp = getattr(layer, "mlp", None)
        norm = getattr(layer, "post_attention_layernorm", None)
        if name in NORMS_AFTER and isinstance(norm, nn.Module) and patches.has(norm, "forward"):
            attention: Any = layer.self_attn
            patches.place(layer, "forward", _norms_after(layer, fused_attention=patches.has(attention, "forward")))
            placed += 1
        elif name in GATED_DELTA and fast_rule and isinstance(mlp, nn.Module) and patches.has(mlp, "forward"):
            patches.place(layer, "forward", _gated_delta(layer))
            placed += 1
    return placed


def _fits(x: torch.Tensor) -> bool:
    return current_pass() is not None and x.dtype in KERNEL_DTYPES and x.is_contiguous()


def _norms_after(layer: Any, *, fused_attention: bool) -> Callable[..., torch.Tensor]:
    own = type(layer).forward

    def forward(hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if not _fits(hidden_states):
            own_output: torch.Tensor = own(layer, hidden_states, **kwargs)
            return own_output
        outputs = _outputs_of_last(layer) if fused_attention else None
        if outputs is None or outputs >= hidden_states.shape[1]:
            mixed, _ = layer.self_attn(hidden_states=hidden_states, **kwargs)
            return finish(mixed, hidden_states)
        mixed, _ = layer.self_attn(hidden_states=hidden_states, outputs=outputs, **kwargs)
        if outputs:
            # In place: nothing reads the other tokens' outputs.
            read = hidden_states[:, -outputs:]
            read.copy_(finish(mixed, read.contiguous()))
        return hidden_states

    def finish(mixed: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        hidden_states = layer.post_attention_layernorm(mixed, residual=residual)
        output: torch.Tensor = layer.post_feedforward_layernorm(layer.mlp(hidden_states), residual=hidden_states)
        return output

    return forward


def _outputs_of_last(layer: Any) -> int | None:
    """How many of a row's last tokens have an output that is read after the last layer; None in other layers."""
    step = current_pass()
    if step is None or isinstance(step, TokenPass) or len(step.rows) != 1:
        return None
    calls = step.cache.layout.calls
    is_last = bool(calls) and calls[-1].is_last and calls[-1].layer_index == layer.self_attn.layer_idx
    return step.rows[0].outputs if is_last else None


def _gated_delta(layer: Any) -> Callable[..., torch.Tensor]:
    own = type(layer).forward

    def forward(hidden_states: torch.Tensor, past_key_values: Any = None, **kwargs: Any) -> torch.Tensor:
        if not _fits(hidden_states) or kwargs.get("attention_mask") is not None:
            own_output: torch.Tensor = own(layer, hidden_states, past_key_values=past_key_values, **kwargs)
            return own_output
        normed = layer.input_layernorm(hidden_states)
        hidden_states = layer.linear_attn(normed, cache_params=past_key_values, residual=hidden_states, **kwargs)
        del normed  # free it before the MLP runs
        output: torch.Tensor = layer.mlp(layer.post_attention_layernorm(hidden_states), residual=hidden_states)
        return output

    return forward
