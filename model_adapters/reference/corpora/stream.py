"""Seeded random draws that are identical in every process and Python version.

Only `random.Random(int).random()` is used: its sequence for an integer seed is the only one that the standard library
guarantees.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A stream of random choices, identified by strings and numbers: the same names give the same stream."""

    def __init__(self, *names: str | int) -> None:
        text = "/".join(str(name) for name in names)
        self.random = random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest())).random

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""
        return int(self.random() * limit)

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return low + int(self.random() * (high - low + 1))

    def one(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[int(self.random() * len(choices))]

    def some(self, choices: Sequence[T], count: int) -> list[T]:
        """`count` items of `choices` at different indices, in drawn order; raises ValueError if there are fewer."""
        if count > len(choices):
            raise ValueError(f"{count} of {len(choices)} cannot be drawn")
        pool = list(choices)
        return [pool.pop(int(self.random() * len(pool))) for _ in range(count)]

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        """All choices in random order."""
        return self.some(choices, len(choices))
