"""Token counts of the parts of a haystack, before a prompt is built."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from evalkit.running.chat import Chat, Prompt


class Measure:
    """Token counts under one tokenizer.

    Counts of parts are exact for tokenizers that split at spaces and line ends first (byte-level BPE, metaspace) and
    approximate for others, so callers count the finished prompt as well.
    """

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.tokenizer = chat.tokenizer
        self.kept: dict[Hashable, Any] = {}
        """Cache of counts that many samples need; they depend only on the tokenizer."""

    def count(self, text: str) -> int:
        """Number of tokens of `text`, without special tokens."""
        return len(self.tokenizer.encode(text))

    def prompt(self, question: str, opening: str) -> Prompt:
        """The whole prompt, in the convention of the run."""
        return self.chat.render(question, opening)

    def unit_tokens(self, units: Sequence[str], joint: str, *, before: str) -> list[int]:
        """Tokens that each of `units` adds to a running text, including the `joint` before it.

        `before` is an example of the text before the first unit.
        """
        if not units:
            return []
        lengths = np.fromiter((len(unit) for unit in units), dtype=np.int64, count=len(units))
        starts = len(before) + np.concatenate(([0], np.cumsum(lengths + len(joint))))
        _, offsets = self.tokenizer.encode_with_offsets(joint.join((before, *units)))
        token_starts = np.fromiter((start for start, _ in offsets), dtype=np.int64, count=len(offsets))
        below = np.searchsorted(token_starts, starts, side="left")
        below[-1] = len(token_starts)
        return [int(tokens) for tokens in np.diff(below)]
