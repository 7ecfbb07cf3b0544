"""What each layer of a model remembers and what its attention calls see, as measured by `probe.measure_memory`."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from transformers import PreTrainedConfig

from model_adapters.engine.memory.cost import SlotCost


class AttentionShape(NamedTuple):
    """What decides whether a fused kernel applies."""

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
    """One layer of the cache; a layer may have keys and values, states, both or neither."""

    window: int | None = None
    """Keys that a query may see, its own included; None without a limit."""
    chunked: bool = False
    """Whether what a query may see begins anew every `window` positions instead."""
    transformed: bool = False
    """Whether attention sees something else than the keys and values that the cache returned, such as latent vectors
    that the layer expands."""
    kv_bytes: int = 0
    """Keys and values of one token."""
    state_bytes: int = 0
    """Convolution and recurrent states of one sequence, whatever its length."""


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One of the attention calls of a forward pass."""

    layer_index: int
    """The cache layer whose keys and values it sees; several calls may share one."""
    is_last: bool
    """Whether nothing is remembered after it, so that only positions which go on to the logits need its output."""
    shape: AttentionShape
    plain: bool = True
    """Whether scores have neither caps nor sinks, which fused kernels do not know."""


@dataclass(frozen=True, slots=True)
class MemoryLayout:
    """All layers, and all attention calls in the order in which every forward pass makes them."""

    layers: tuple[LayerMemory, ...]
    states_per_layer: int = 1
    calls: tuple[AttentionCall, ...] = ()
    continues: bool = True
    """Whether layers continue from their states with many tokens at once; if not, they do so with single tokens."""
    last_mlp_runs_last: bool = False
    """Whether the last layer's MLP runs once and after everything that is remembered."""
    cost: SlotCost = field(init=False)
    """What one sequence keeps in memory."""

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
        """The layers that transformers gives a cache for this configuration, with nothing known about them."""
        decoder = config.get_text_config(decoder=True)
        layers = (LayerMemory(),) * int(decoder.num_hidden_layers)
        return cls(layers, states_per_layer=int(getattr(decoder, "number_of_conv_states", 1)))

    @property
    def main_call(self) -> AttentionCall | None:
        """The first full-attention call, else the first call; None without attention."""
        full = [call for call in self.calls if self.layers[call.layer_index].window is None]
        return next(iter((*full, *self.calls)), None)
