"""Sizes of a layer in its configuration, known before the weights are read.

Each function takes the configuration of one layer, because in some families sizes differ between layers.
"""

from dataclasses import dataclass

from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True)
class LinearSizes:
    """Sizes of a linear-attention or state-space layer."""

    conv_channels: int
    conv_kernel: int
    state_values: int
    """Values in one sequence's recurrent state, independent of its length."""


def linear_sizes(config: PreTrainedConfig) -> LinearSizes:
    """Sizes for the gated delta rule, Kimi's delta attention or Mamba-2; all 0 for other layers."""
    for sizes in (_gated_delta(config), _kimi_delta(config), _mamba2(config)):
        if sizes.state_values:
            return sizes
    return LinearSizes(0, 0, 0)


def head_size(config: PreTrainedConfig) -> int:
    """Dimensions of an attention head; 0 if the family has no attention."""
    heads = getattr(config, "num_attention_heads", 0)
    return int(getattr(config, "head_dim", None) or config.hidden_size // heads) if heads else 0


def _gated_delta(config: PreTrainedConfig) -> LinearSizes:
    key_heads, key = getattr(config, "linear_num_key_heads", 0), getattr(config, "linear_key_head_dim", 0)
    value_heads, value = getattr(config, "linear_num_value_heads", 0), getattr(config, "linear_value_head_dim", 0)
    kernel = getattr(config, "linear_conv_kernel_dim", 0)
    return LinearSizes(2 * key_heads * key + value_heads * value, kernel, value_heads * key * value)


def _kimi_delta(config: PreTrainedConfig) -> LinearSizes:
    heads, size = getattr(config, "linear_num_heads", 0), getattr(config, "linear_head_dim", 0)
    return LinearSizes(3 * heads * size, getattr(config, "linear_conv_kernel_dim", 0), heads * size * size)


def _mamba2(config: PreTrainedConfig) -> LinearSizes:
    """Mamba-2, either alone or in a hybrid, whose configuration prefixes the names with `mamba_`."""
    if hasattr(config, "mamba_n_heads"):
        inner = config.mamba_n_heads * config.mamba_d_head
        state, groups, kernel = config.mamba_d_state, config.mamba_n_groups, config.mamba_d_conv
    elif hasattr(config, "state_size") and hasattr(config, "n_groups"):
        inner = config.num_heads * config.head_dim
        state, groups, kernel = config.state_size, config.n_groups, config.conv_kernel
    else:
        return LinearSizes(0, 0, 0)
    return LinearSizes(inner + 2 * groups * state, kernel, inner * state)
