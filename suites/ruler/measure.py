"""Counting tokens before a prompt is built: what each part of a haystack costs."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from evalkit.running.protocols import Tokenizer


class Measure:
    """Token counts under one tokenizer.

    Counts of parts are exact for tokenizers that split at spaces and line ends first (byte-level BPE, metaspace) and
    near for others; whoever uses them counts the finished prompt as well.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.kept: dict[Hashable, Any] = {}
        """Counts that many samples need, by what was counted; they depend on the tokenizer alone."""

    def count(self, text: str) -> int:
        """Tokens of `text`, special tokens left out."""
        return len(self.tokenizer.encode(text))

    def prompt_ids(self, prompt: str) -> list[int]:
        """Ids as the model reads them, special tokens included."""
        return self.tokenizer.encode_prompt(prompt)

    def unit_tokens(self, units: Sequence[str], joint: str, *, before: str) -> list[int]:
        """Tokens that each of `units` adds to a running text, its `joint` in front included.

        `before` is what the running text is like before the first unit.
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
