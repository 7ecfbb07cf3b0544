"""One forward pass over a slotted cache: which slots it touches, and how it reads and writes their memory.

with running(step):
    decoder(input_ids, past_key_values=CacheView(step))     # layers find the step by `current_step`

Shape suffixes: B sequences, G key/value heads, T tokens, S keys, D key or value size, C channels, K convolution kernel
size.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from model_adapters.engine.memory.key_value_buffer import KeysValues
from model_adapters.engine.memory.layout import AttentionCall
from model_adapters.engine.memory.slotted_cache import SlottedCache

States = dict[int, torch.Tensor | None]
"""State index -> states [B, ...] of the slots in a pass; None before the model has written one."""


class CacheStep(ABC):
    """What every layer of one forward pass shares."""

    rows: slice
    """The slots in this pass, in the order of its batch."""
    continued: bool
    """Whether the slots hold earlier tokens; if not, linear-attention layers start from nothing."""

    def __init__(self, cache: SlottedCache) -> None:
        self.cache = cache
        self._calls = 0

    @property
    def length(self) -> int:
        """Tokens before this pass (the most of any slot)."""
        return max(self.cache.lengths[self.rows])

    def next_call(self) -> AttentionCall:
        """The attention call that the forward pass makes now; a model makes the same calls in every pass."""
        calls = self.cache.layout.calls
        if self._calls == len(calls):
            raise RuntimeError(f"the model calls attention more than the {len(calls)} times of its first forward pass")
        self._calls += 1
        return calls[self._calls - 1]

    @abstractmethod
    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        """Store new keys and values of a layer, and return those that its queries may look at."""

    def conv_states(self, layer_index: int) -> States:
        """The convolution states of a layer; modules may write into them."""
        return self._of_rows(self.cache.states[layer_index].conv_NCK)

    def recurrent_states(self, layer_index: int) -> States:
        """The recurrent states of a layer; modules may write into them."""
        return self._of_rows(self.cache.states[layer_index].recurrent)

    def roll_conv(self, layer_index: int, x_BCT: torch.Tensor, *, index: int, kernel_size: int | None) -> torch.Tensor:
        """Keep the last K inputs of a convolution, and return the inputs with their left context, if there is one."""
        state = self.cache.states[layer_index]
        return state.roll_conv(self.rows, x_BCT, index=index, kernel_size=kernel_size, continued=self.continued)

    def set_recurrent(self, layer_index: int, state: torch.Tensor, *, index: int) -> torch.Tensor:
        """Store new recurrent states, and return them as stored."""
        return self.cache.states[layer_index].set_recurrent(self.rows, state, index=index)

    def _of_rows(self, states: dict[int, torch.Tensor]) -> States:
        return {
            index: states[index][self.rows] if index in states else None
            for index in range(self.cache.layout.states_per_layer)
        }


class PrefillStep(CacheStep):
    """A segment of one sequence, starting at the slot's length.

    The model's output is right for the segment's last `output_tokens` positions only.
    """

    def __init__(self, cache: SlottedCache, slot: int, output_tokens: int = 1) -> None:
        super().__init__(cache)
        self.output_tokens = output_tokens
        self.rows, self.slot = slice(slot, slot + 1), slot
        self.continued = cache.lengths[slot] > 0

    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        return self.cache.buffer(layer_index, k_BGTD, v_BGTD).append_segment(self.slot, self.length, k_BGTD, v_BGTD)


class BranchStep(CacheStep):
    """Texts that each continue what one slot holds; nothing in the slot changes, nothing new is kept.

    Shorter texts are padded at their end. Every layer is causal, so the padding reaches nothing before it, and the
    states behind it are dropped with all others.
    """

    def __init__(self, cache: SlottedCache, slot: int, texts: int) -> None:
        super().__init__(cache)
        self.rows, self.slot, self.texts = slice(slot, slot + 1), slot, texts
        self.continued = cache.lengths[slot] > 0

    def before(self, layer_index: int) -> KeysValues | None:
        """The keys and values [1, G, S, D] that all texts may look at beside their own, in order."""
        return self.cache.buffers[layer_index].before(self.slot, self.length) if self.continued else None

    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        """The new keys and values alone; behind those before them if the layer changes what the cache returns."""
        before = self.before(layer_index)
        if before is None or not self.cache.layout.layers[layer_index].transformed:
            return k_BGTD, v_BGTD
        old_k, old_v = (old.expand(self.texts, -1, -1, -1) for old in before)
        return torch.cat([old_k, k_BGTD], dim=2), torch.cat([old_v, v_BGTD], dim=2)

    def roll_conv(
        self,
        layer_index: int,
        x_BCT: torch.Tensor,
        *,
        index: int,
        kernel_size: int | None,  # noqa: ARG002 - nothing is kept
    ) -> torch.Tensor:
        if not self.continued:
            return x_BCT
        state_1CK = self.cache.states[layer_index].conv_NCK[index][self.rows]
        return torch.cat([state_1CK.expand(self.texts, -1, -1), x_BCT], dim=-1)

    def set_recurrent(self, layer_index: int, state: torch.Tensor, *, index: int) -> torch.Tensor:  # noqa: ARG002
        return state

    def _of_rows(self, states: dict[int, torch.Tensor]) -> States:
        # Modules may write into what they are given, so each text has a copy.
        return {
            index: state if state is None else state.repeat_interleave(self.texts, dim=0)
            for index, state in super()._of_rows(states).items()
        }


class DecodeStep(CacheStep):
    """One token for each of the first slots; nothing depends on a host length, so a step can be captured.

    `places` bounds the keys that are looked at and must exceed every length; shapes depend on it and on `sequences`
    only. The tokens go where the slots end, or to the positions given.
    """

    def __init__(
        self, cache: SlottedCache, sequences: int, places: int, position_B: torch.Tensor | None = None
    ) -> None:
        super().__init__(cache)
        self.rows, self.places = slice(0, sequences), places
        self.continued = True
        self.position_B = cache.length_N[:sequences] if position_B is None else position_B
        """Position of each sequence's new token, on the device; by default a view of the cache's lengths."""

    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        buffer = self.cache.buffer(layer_index, k_BGTD, v_BGTD)
        return buffer.append_tokens(self.position_B, k_BGTD, v_BGTD, self.places)


_CURRENT: ContextVar[CacheStep | None] = ContextVar("cache_step", default=None)


@contextmanager
def running(step: CacheStep) -> Iterator[None]:
    """Let the layers of the forward pass in this block find its step."""
    token = _CURRENT.set(step)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_step() -> CacheStep | None:
    """The step of the forward pass that is running; None outside the engine."""
    return _CURRENT.get()
