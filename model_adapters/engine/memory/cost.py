"""What a model needs beside its weights: bytes of a sequence, and of one segment's activations.

cost = slot_cost(model.config, model.dtype)
cost.bytes(65_536)          # keys, values and states of one sequence of 65,536 tokens
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from model_adapters.engine.memory.layer_kinds import layer_configs, layer_kinds
from model_adapters.engine.memory.layer_sizes import cached_values, head_size, linear_sizes

MOST_TOKENS = 2**24
"""No context is longer than this."""
ACTIVATION_MARGIN = 1.6
"""What the count of a layer's tensors is raised by, so that no family measured needs more."""


@dataclass(frozen=True, slots=True)
class SlotCost:
    """What one sequence keeps in memory."""

    kv_bytes_per_token: int
    """Keys and values of all full-attention layers."""
    window_bytes_per_token: int
    """Keys and values of all sliding-window layers; paid for at most `window_tokens`."""
    window_tokens: int
    state_bytes: int
    """Convolution and recurrent states of all linear-attention layers, whatever the length."""

    def bytes(self, max_tokens: int) -> int:
        """Bytes of one slot made for `max_tokens` tokens."""
        windowed = min(max_tokens, self.window_tokens)
        return self.kv_bytes_per_token * max_tokens + self.window_bytes_per_token * windowed + self.state_bytes


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model takes beside its weights."""

    slot: SlotCost
    activation_bytes_per_token: int
    on_gpu: bool

    @classmethod
    def of(cls, config: PreTrainedConfig, dtype: torch.dtype, *, on_gpu: bool) -> "Needs":
        """By the model's configuration."""
        return cls(slot_cost(config, dtype), activation_bytes_per_token(config, dtype), on_gpu)


def slot_cost(config: PreTrainedConfig, dtype: torch.dtype) -> SlotCost:
    """The cost of a slot by the configuration's own sizes; recurrent states are kept in fp32."""
    full = windowed = states = window = 0
    for kind, layer in zip(layer_kinds(config), layer_configs(config), strict=True):
        if kind.windowed:
            windowed += cached_values(layer) * dtype.itemsize
            window = max(window, layer.sliding_window or 0)
        elif kind.attention:
            full += cached_values(layer) * dtype.itemsize
        if kind.states:
            states += _linear_state_bytes(layer, dtype)
    return SlotCost(full, windowed, window, states)


def activation_bytes_per_token(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """An upper estimate of one segment's activations, per token: the widest layer, in its own dtype and in fp32.

    Counted are the residual stream and its norms, the projections of one layer and its copies for attention or the
    delta rule, and the gated MLP.
    """
    widest = max(map(_layer_width, layer_configs(config)), default=4 * config.hidden_size)
    return int(ACTIVATION_MARGIN * (dtype.itemsize + 4) * (4 * config.hidden_size + widest))


def rounded_length(tokens: int) -> int:
    """A length at most a quarter larger, so that sequences of about one length share a cache and its graphs."""
    step = 1 << max(0, tokens.bit_length() - 3)
    return -(-tokens // step) * step


def _layer_width(config: PreTrainedConfig) -> int:
    """Numbers that the wider of a layer's mixer and MLP holds for one token."""
    attention = 4 * (getattr(config, "num_attention_heads", None) or 0) * head_size(config)
    mlp = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    widest_mlp: int = max(mlp) if isinstance(mlp, list | tuple) else mlp
    return max(attention, 4 * linear_sizes(config).conv_channels, 3 * widest_mlp)


def _linear_state_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    sizes = linear_sizes(config)
    return sizes.conv_channels * sizes.conv_kernel * dtype.itemsize + sizes.state_values * torch.float32.itemsize
