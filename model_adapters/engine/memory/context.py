"""A text that a model has read, from which other texts can continue."""

from dataclasses import dataclass
from typing import Any

from model_adapters.engine.memory.slotted_cache import SlottedCache


@dataclass(frozen=True, slots=True)
class Context:
    """A slot, and the decoder's output at its last token."""

    cache: SlottedCache
    slot: int
    last: Any = None
    """Decoder output with a hidden state [1, 1, D], which gives the next token's logits; None for an empty slot."""

    @property
    def tokens(self) -> int:
        """Number of tokens read."""
        return self.cache.lengths[self.slot]
