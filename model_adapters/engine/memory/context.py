"""What a model has read so far, as that from which any number of texts can continue."""

from dataclasses import dataclass
from typing import Any

from model_adapters.engine.memory.slotted_cache import SlottedCache


@dataclass(frozen=True, slots=True)
class Context:
    """A slot, and the decoder's output at the last token in it."""

    cache: SlottedCache
    slot: int
    last: Any = None
    """A hidden state [1, 1, D], from which the logits of what comes next are made; None for an empty slot."""

    @property
    def tokens(self) -> int:
        """How many have been read."""
        return self.cache.lengths[self.slot]
