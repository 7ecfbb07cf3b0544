"""Memory of one sequence, from the configuration: floors must not depend on what the engine allocates."""

import torch
from transformers import PreTrainedConfig

from model_adapters.bench.layer_kinds import layer_kinds
from model_adapters.engine.memory.cost import SlotCost
from model_adapters.engine.memory.layer_sizes import head_size, linear_sizes


def slot_cost(config: PreTrainedConfig, dtype: torch.dtype) -> SlotCost:
    """The cost of a sequence; recurrent states are stored in fp32."""
    full = windowed = states = window = 0
    for kind, layer in zip(layer_kinds(config), config.per_layer_config, strict=True):
        if kind.windowed:
            windowed += _cached_values(layer) * dtype.itemsize
            window = max(window, layer.sliding_window or 0)
        elif kind.attention:
            full += _cached_values(layer) * dtype.itemsize
        if kind.states:
            states += _linear_state_bytes(layer, dtype)
    return SlotCost(full, windowed, window, states)


def _cached_values(config: PreTrainedConfig) -> int:
    """Values that an attention layer caches per token, keys and values together."""
    if getattr(config, "kv_lora_rank", None) is not None:
        # Latent attention: the latent that keys and values are expanded from, and the part of the keys all heads share.
        return int(config.kv_lora_rank + config.qk_rope_head_dim)
    heads: int = getattr(config, "num_key_value_heads", 0) or getattr(config, "num_attention_heads", 0)
    return 2 * heads * head_size(config)


def _linear_state_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    sizes = linear_sizes(config)
    return sizes.conv_channels * sizes.conv_kernel * dtype.itemsize + sizes.state_values * torch.float32.itemsize
