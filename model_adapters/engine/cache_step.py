"""One forward pass over a slotted cache: which slots it touches and how it appends to their keys and values."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

from model_adapters.engine.key_value_buffer import KeysValues

if TYPE_CHECKING:
    from model_adapters.engine.slotted_cache import SlottedCache


class CacheStep(ABC):
    """What every layer of one forward pass shares."""

    rows: slice
    """The slots in this pass, in the order of its batch."""
    continued: bool
    """Whether the slots hold earlier tokens; where not, linear-attention layers start from nothing."""

    def __init__(self, cache: "SlottedCache") -> None:
        self.cache = cache

    @property
    def length(self) -> int:
        """Tokens before this pass (the most of any slot)."""
        return max(self.cache.lengths[self.rows])

    @abstractmethod
    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        """Store new keys and values of a layer, and return those that its queries may look at."""


class PrefillStep(CacheStep):
    """A segment of one sequence, of whose positions only the last `output_tokens` go on to the logits."""

    def __init__(self, cache: "SlottedCache", slot: int, output_tokens: int) -> None:
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

    def __init__(self, cache: "SlottedCache", slot: int, texts: int) -> None:
        super().__init__(cache)
        self.rows, self.slot, self.texts = slice(slot, slot + 1), slot, texts
        self.continued = cache.lengths[slot] > 0

    def before(self, layer_index: int) -> KeysValues | None:
        """The keys and values [1, G, S, D] that all texts may look at beside their own, in order."""
        return self.cache.buffers[layer_index].before(self.slot, self.length) if self.continued else None

    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        before = self.before(layer_index)
        if before is None or not self.cache.keeps_latents:
            return k_BGTD, v_BGTD
        old_k, old_v = (old.expand(self.texts, -1, -1, -1) for old in before)
        return torch.cat([old_k, k_BGTD], dim=2), torch.cat([old_v, v_BGTD], dim=2)


class DecodeStep(CacheStep):
    """One token for each of the first slots; nothing depends on a host length, so a step can be captured."""

    def __init__(
        self, cache: "SlottedCache", sequences: int, places: int, position_B: torch.Tensor | None = None
    ) -> None:
        super().__init__(cache)
        self.rows, self.places = slice(0, sequences), places
        self.continued = True
        self.position_B = cache.length_N[:sequences] if position_B is None else position_B
        """Position of each sequence's new token, on the device; by default a view of the cache's lengths."""

    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        buffer = self.cache.buffer(layer_index, k_BGTD, v_BGTD)
        return buffer.append_tokens(self.position_B, k_BGTD, v_BGTD, self.places)
