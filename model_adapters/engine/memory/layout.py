"""What each layer stores and what its attention calls see, as measured by `probe.measure_memory`."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from transformers import PreTrainedConfig

from model_adapters.engine.memory.cost import SlotCost


class AttentionShape(NamedTuple):
    """The properties that decide whether a fused kernel applies."""

    device: torch.device
    dtype: torch.dtype
    heads: int
    kv_heads: int
    key_size: int
    value_size: int

    @classmethod
    def of(cls, q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor) -> "AttentionShape":
        """The shape of one call."""
        heads, kv_heads = q_BHTD.shape[1], k_BGSD.shape[1]
        return cls(q_BHTD.device, q_BHTD.dtype, heads, kv_heads, k_BGSD.shape[3], v_BGSE.shape[3])


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """What one layer of the cache stores: keys and values, states, both or neither."""

    window: int | None = None
    """Number of keys visible to a query, its own included; None if unlimited."""
    chunked: bool = False
    """Whether the visible keys start anew every `window` positions, instead of sliding."""
    transformed: bool = False
    """Whether attention sees something other than the keys and values returned by the cache, for example because the
    layer expands latent vectors."""
    kv_bytes: int = 0
    """Bytes of keys and values per token."""
    state_bytes: int = 0
    """Bytes of convolution and recurrent states per sequence, independent of its length."""


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One of a forward pass's attention calls."""

    layer_index: int
    """The cache layer whose keys and values it reads; several calls may share one."""
    is_last: bool
    """Whether no layer stores anything after it, so that only positions whose logits are needed require its output."""
    shape: AttentionShape
    plain: bool = True
    """Whether scores have neither caps nor sinks, which fused kernels do not support."""


@dataclass(frozen=True, slots=True)
class MemoryLayout:
    """All layers, and all attention calls in the order common to all forward passes."""

    layers: tuple[LayerMemory, ...]
    states_per_layer: int = 1
    calls: tuple[AttentionCall, ...] = ()
    continues: bool = True
    """Whether layers continue from their states with many tokens at once; otherwise only token by token."""
    last_mlp_runs_last: bool = False
    """Whether the last layer's MLP runs once, after everything has been stored."""
    cost: SlotCost = field(init=False)
    """Memory of one sequence."""

    def __post_init__(self) -> None:
        full = [layer for layer in self.layers if layer.window is None]
        windowed = [layer for layer in self.layers if layer.window is not None]
        cost = SlotCost(
            kv_bytes_per_token=sum(layer.kv_bytes for layer in full),
            window_bytes_per_token=sum(layer.kv_bytes for layer in windowed),
            window_tokens=max((layer.window or 0 for layer in windowed), default=0),
            state_bytes=sum(layer.state_bytes for layer in self.layers),
        )
        object.__setattr__(self, "cost", cost)

    @classmethod
    def unmeasured(cls, config: PreTrainedConfig) -> "MemoryLayout":
        """The layers of transformers' own cache for this configuration, with nothing measured."""
        decoder = config.get_text_config(decoder=True)
        layers = (LayerMemory(),) * int(decoder.num_hidden_layers)
        return cls(layers, states_per_layer=int(getattr(decoder, "number_of_conv_states", 1)))

    @property
    def main_call(self) -> AttentionCall | None:
        """The first full-attention call, or the first call if there is none; None without attention."""
        full = [call for call in self.calls if self.layers[call.layer_index].window is None]
        return next(iter((*full, *self.calls)), None)
