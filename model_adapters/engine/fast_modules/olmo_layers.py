"""Decoder layers whose residual sums cost no pass of their own: they go into the norm or product before them.

A layer runs so only inside the engine; outside it runs its own code.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.engine.fast_modules.patches import ModulePatches
from model_adapters.engine.memory.passes import current_pass
from model_adapters.kernels.trial import KERNEL_DTYPES

NORMS_AFTER = ("Olmo2DecoderLayer", "Olmo3DecoderLayer", "OlmoHybridAttentionDecoderLayer")
"""Classes that norm what attention and MLP return and add it then."""
GATED_DELTA = ("OlmoHybridLinearAttentionDecoderLayer",)
"""Classes that norm what a gated delta rule and an MLP take, and add what they return."""


def place_fused_layers(model: PreTrainedModel, patches: ModulePatches, *, fast_rule: bool) -> int:
    """Put fused forwards in the place of a model's decoder layers; how many have one now.

    The elementwise kernels must have been placed before, and with `fast_rule` the Triton gated delta rule.
    """
    placed = 0
    for layer in model.modules():
        name = type(layer).__name__
        mlp = getattr(layer, "mlp", None)
        norm = getattr(layer, "post_attention_layernorm", None)
        if name in NORMS_AFTER and isinstance(norm, nn.Module) and patches.has(norm, "forward"):
            patches.place(layer, "forward", _norms_after(layer))
            placed += 1
        elif name in GATED_DELTA and fast_rule and isinstance(mlp, nn.Module) and patches.has(mlp, "forward"):
            patches.place(layer, "forward", _gated_delta(layer))
            placed += 1
    return placed


def _fits(x: torch.Tensor) -> bool:
    return current_pass() is not None and x.dtype in KERNEL_DTYPES and x.is_contiguous()


def _norms_after(layer: Any) -> Callable[..., torch.Tensor]:
    own = type(layer).forward

    def forward(hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if not _fits(hidden_states):
            own_output: torch.Tensor = own(layer, hidden_states, **kwargs)
            return own_output
        mixed, _ = layer.self_attn(hidden_states=hidden_states, **kwargs)
        hidden_states = layer.post_attention_layernorm(mixed, residual=hidden_states)
        output: torch.Tensor = layer.post_feedforward_layernorm(layer.mlp(hidden_states), residual=hidden_states)
        return output

    return forward


def _gated_delta(layer: Any) -> Callable[..., torch.Tensor]:
    own = type(layer).forward

    def forward(hidden_states: torch.Tensor, past_key_values: Any = None, **kwargs: Any) -> torch.Tensor:
        if not _fits(hidden_states) or kwargs.get("attention_mask") is not None:
            own_output: torch.Tensor = own(layer, hidden_states, past_key_values=past_key_values, **kwargs)
            return own_output
        normed = layer.input_layernorm(hidden_states)
        hidden_states = layer.linear_attn(normed, cache_params=past_key_values, residual=hidden_states, **kwargs)
        del normed  # not held while the MLP runs
        output: torch.Tensor = layer.mlp(layer.post_attention_layernorm(hidden_states), residual=hidden_states)
        return output

    return forward
