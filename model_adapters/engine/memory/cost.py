"""Memory that a model needs beyond its weights: bytes per sequence, and bytes of one segment's activations.

needs = runner.needs
needs.slot.bytes(65_536)    # KV cache and states of one sequence of 65,536 tokens
needs.most_slots(65_536)    # how many of them a decode step gains from
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from model_adapters.engine.memory.layer_sizes import head_size, linear_sizes

MOST_TOKENS = 2**24
"""Upper limit of any context length."""
MOST_SLOTS = 256
"""Sequences from which on a decode step's products are limited by operations instead of by reading the weights: a GPU's
operations per byte that it copies (H100 295, H200 206 by their data sheets)."""
WEIGHTS_SHARE = 0.1
"""Share of a decode step's time for what is the same for any number of sequences, below which more gain little."""
LAUNCH_BYTES = 2 * 2**30
"""Bytes that a GPU copies in the time that a step takes beyond its bytes: 0.7 ms for a 7B hybrid on an H100."""
ACTIVATION_MARGIN = 1.6
"""Factor on the counted tensors of a layer, chosen so that no measured family needs more."""


@dataclass(frozen=True, slots=True)
class SlotCost:
    """Memory of one sequence."""

    kv_bytes_per_token: int
    """KV cache of all full-attention layers, per token."""
    window_bytes_per_token: int
    """KV cache of all sliding-window layers, per token; at most `window_tokens` tokens are stored."""
    window_tokens: int
    state_bytes: int
    """Convolution and recurrent states of all linear-attention layers, independent of the length."""

    def bytes(self, max_tokens: int) -> int:
        """Bytes of one slot made for `max_tokens` tokens."""
        windowed = min(max_tokens, self.window_tokens)
        return self.kv_bytes_per_token * max_tokens + self.window_bytes_per_token * windowed + self.state_bytes


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory that a model needs beyond its weights."""

    slot: SlotCost
    activation_bytes_per_token: int
    on_gpu: bool
    weights_bytes: int = 0
    """Bytes of the weights, which every decode step reads."""
    logit_count: int = 0
    """Logits per sequence in a decode step."""
    in_one_piece: bool = False
    """Whether each prompt is one segment, however long, unless a size of segments is given."""

    def slot_bytes(self, max_tokens: int) -> int:
        """Bytes of a slot; on a GPU with its row in decode steps: activations of a token, and logits in fp32 twice."""
        row = self.activation_bytes_per_token + 2 * torch.float32.itemsize * self.logit_count
        return self.slot.bytes(max_tokens) + (row if self.on_gpu else 0)

    def most_slots(self, max_tokens: int) -> int:
        """The number of sequences of this length from which on decoding more of them together gains little.

        A step takes the time to read the weights once and every slot, so of a token's time the weights' share falls
        with the number of sequences. It stops paying where that share is WEIGHTS_SHARE.
        """
        common = self.weights_bytes + LAUNCH_BYTES
        enough = common * (1 - WEIGHTS_SHARE) / (WEIGHTS_SHARE * max(1, self.slot.bytes(max_tokens)))
        return max(1, min(MOST_SLOTS, int(enough)))


def activation_bytes_per_token(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Upper estimate of one segment's activations in bytes per token: those of the widest layer, in its dtype and fp32.

    Counts the residual stream and its norms, one layer's projections and their copies for attention or the delta rule,
    and the gated MLP.
    """
    widest = max(map(_layer_width, config.per_layer_config), default=4 * config.hidden_size)
    return int(ACTIVATION_MARGIN * (dtype.itemsize + 4) * (4 * config.hidden_size + widest))


def rounded_length(tokens: int) -> int:
    """Round a length up by at most a quarter, so that sequences of similar length share a cache and its graphs."""
    step = 1 << max(0, tokens.bit_length() - 3)
    return -(-tokens // step) * step


def _layer_width(config: PreTrainedConfig) -> int:
    """Values per token in the wider of a layer's mixer and MLP."""
    attention = 4 * (getattr(config, "num_attention_heads", None) or 0) * head_size(config)
    mlp = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    widest_mlp: int = max(mlp) if isinstance(mlp, list | tuple) else mlp
    return max(attention, 4 * linear_sizes(config).conv_channels, 3 * widest_mlp)
