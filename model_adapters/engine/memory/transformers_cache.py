"""A pass over a slotted cache as a transformers `Cache`, whose layers read and write some of the slots.

transformers' own `Cache` dispatches to the layers defined here, so every version of a module finds the methods that
it calls.
"""

import inspect
from typing import Any, get_args

import torch
from torch import nn
from transformers.cache_utils import Cache, CacheLayerMixin, LinearAttentionCacheLayerMixin

from model_adapters.engine.memory.key_value_buffer import KeysValues
from model_adapters.engine.memory.passes import Pass, States


class CacheView(Cache):
    """The `past_key_values` of one forward pass."""

    def __init__(self, step: Pass) -> None:
        self._step = step
        self._views = [LayerView(step, index) for index in range(len(step.cache.layout.layers))]
        Cache.__init__(self, layers=list(self._views))

    def get_seq_length(self, layer_idx: int | None = None) -> Any:
        """The number of tokens before the pass; for a layer that asks for its own, what it numbers positions from.

        In Llama 4 a layer adds this to the indices of its tokens, whose rows start at different positions.
        """
        return self._step.length if layer_idx is None else self._step.offsets

    def get_linear_cache(self, layer_index: int) -> torch.Tensor | None:
        """A layer's recurrent states, under the name that MiniMax uses."""
        layer = self._views[layer_index]
        return layer.recurrent_states[0] if layer.has_previous_state[0] else None

    def set_linear_cache(self, layer_index: int, states: torch.Tensor) -> None:
        """Store a layer's recurrent states, under the name that MiniMax uses."""
        self._views[layer_index].update_recurrent_state(states)


def view_for(decoder: nn.Module) -> type[CacheView]:
    """The class of view that a decoder accepts: some families require a cache class of their own."""
    annotation = inspect.signature(decoder.forward).parameters.get("past_key_values")
    named = () if annotation is None else get_args(annotation.annotation) or (annotation.annotation,)
    own = [
        kind
        for kind in named
        if inspect.isclass(kind) and issubclass(kind, Cache) and kind.__module__ == type(decoder).__module__
    ]
    return type("OwnCacheView", (CacheView, own[0]), {}) if own else CacheView


class LayerView(LinearAttentionCacheLayerMixin, CacheLayerMixin):  # type: ignore[no-untyped-call]  # registers subclasses
    """A layer in one pass: keys and values, states, or both, depending on what the model writes."""

    is_sliding = False  # the attention function handles windows; no mask is built from this
    is_croppable = False

    def __init__(self, step: Pass, index: int) -> None:
        # Attributes set by the base classes would shadow the properties below.
        self._step, self._index = step, index
        self.number_of_states = step.cache.layout.states_per_layer
        self.is_initialized, self.record_past = True, False

    def lazy_initialization(self, *_: Any, **__: Any) -> None:
        """Do nothing: the slotted cache allocates memory itself."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> KeysValues:
        return self._step.append(self._index, key_states, value_states)

    def update_indexer(self, *_: Any) -> torch.Tensor:
        raise AttributeError("no indexer keys are kept", name="indexer keys", obj=self)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._step.length + query_length, 0

    def get_seq_length(self) -> int:
        return self._step.length

    def get_max_length(self) -> int:
        return self._step.cache.max_tokens

    @property
    def has_previous_state(self) -> dict[int, bool]:  # type: ignore[override]  # stored in the base
        return dict.fromkeys(range(self.number_of_states), self._step.continued)

    @property
    def conv_states(self) -> States:  # type: ignore[override]  # stored in the base
        return self._step.conv_states(self._index)

    @property
    def recurrent_states(self) -> States:  # type: ignore[override]  # stored in the base
        return self._step.recurrent_states(self._index)

    def update_conv_state(
        self, conv_states: torch.Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> torch.Tensor:
        return self._step.roll_conv(self._index, conv_states, index=state_idx, kernel_size=conv_kernel_size)

    def update_recurrent_state(self, recurrent_states: torch.Tensor, state_idx: int = 0, **_: Any) -> torch.Tensor:
        return self._step.set_recurrent(self._index, recurrent_states, index=state_idx)
