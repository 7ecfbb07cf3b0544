"""A slotted cache as transformers' modules see it: a `Cache` whose layers read and write some of the slots.

transformers' own `Cache` dispatches to the layers given here, so every version of a module finds the methods that
it calls.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, LinearAttentionCacheLayerMixin

from model_adapters.engine.cache_step import BranchStep, CacheStep
from model_adapters.engine.key_value_buffer import KeysValues


class CacheView(Cache):
    """The `past_key_values` of one forward pass."""

    def __init__(self, step: CacheStep) -> None:
        super().__init__(layers=[_layer_view(step, index) for index in range(len(step.cache.kinds))])
        self.step = step


class AttentionLayerView(CacheLayerMixin):  # type: ignore[no-untyped-call]  # the base registers subclasses
    """An attention layer in one pass."""

    is_sliding = False  # windows are the attention function's matter; no mask is built from this

    def __init__(self, step: CacheStep, index: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._step, self._index = step, index
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """The slotted cache allocates."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> KeysValues:
        return self._step.append(self._index, key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._step.length + query_length, 0

    def get_seq_length(self) -> int:
        return self._step.length

    def get_max_length(self) -> int:
        return self._step.cache.max_tokens


class LinearLayerView(LinearAttentionCacheLayerMixin):
    """A linear-attention layer in one pass; modules may write into the states they are given, so these are views."""

    def __init__(self, step: CacheStep, index: int) -> None:
        self._step, self._state = step, step.cache.states[index]
        self.number_of_states = step.cache.states_per_layer
        self.record_past = False

    @property
    def has_previous_state(self) -> dict[int, bool]:  # type: ignore[override]  # stored in the base
        return dict.fromkeys(range(self.number_of_states), self._step.continued)

    @property
    def conv_states(self) -> dict[int, torch.Tensor | None]:  # type: ignore[override]  # stored in the base
        return self._of_rows(self._state.conv_NCK)

    @property
    def recurrent_states(self) -> dict[int, torch.Tensor | None]:  # type: ignore[override]  # stored in the base
        return self._of_rows(self._state.recurrent)

    def lazy_initialization(self, *_: Any, **__: Any) -> None:
        """The slotted cache allocates."""

    def update_conv_state(
        self, conv_states: torch.Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> torch.Tensor:
        return self._state.roll_conv(
            self._step.rows,
            conv_states,
            index=state_idx,
            kernel_size=conv_kernel_size,
            continued=self._step.continued,
        )

    def update_recurrent_state(self, recurrent_states: torch.Tensor, state_idx: int = 0, **_: Any) -> torch.Tensor:
        return self._state.set_recurrent(self._step.rows, recurrent_states, index=state_idx)

    def _of_rows(self, states: dict[int, torch.Tensor]) -> dict[int, torch.Tensor | None]:
        return {
            index: states[index][self._step.rows] if index in states else None for index in range(self.number_of_states)
        }


class BranchedLinearLayerView(LinearLayerView):
    """A linear-attention layer in a pass of texts that continue one slot: each starts from a copy and keeps nothing."""

    def __init__(self, step: BranchStep, index: int) -> None:
        super().__init__(step, index)
        self._texts = step.texts

    def update_conv_state(self, conv_states: torch.Tensor, state_idx: int = 0, *_: Any, **__: Any) -> torch.Tensor:
        if not self._step.continued:
            return conv_states
        state_1CK = self._state.conv_NCK[state_idx][self._step.rows]
        return torch.cat([state_1CK.expand(self._texts, -1, -1), conv_states], dim=-1)

    def update_recurrent_state(self, recurrent_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return recurrent_states

    def _of_rows(self, states: dict[int, torch.Tensor]) -> dict[int, torch.Tensor | None]:
        # Modules may write into what they are given.
        return {
            index: state if state is None else state.repeat_interleave(self._texts, dim=0)
            for index, state in super()._of_rows(states).items()
        }


def _layer_view(step: CacheStep, index: int) -> AttentionLayerView | LinearLayerView:
    if step.cache.kinds[index] != "linear":
        return AttentionLayerView(step, index)
    return BranchedLinearLayerView(step, index) if isinstance(step, BranchStep) else LinearLayerView(step, index)
