"""Random draws that depend only on named parts."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of draws for one purpose, such as the values of one sample.

    Only `random.Random.random` is used, the one method whose sequence Python guarantees, so that a seed gives the same
    questions in every process and under every Python.
    """

    def __init__(self, *parts: str | int) -> None:
        """A stream named by `parts`; other parts give an independent stream."""
        digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
        self._random = random.Random(int.from_bytes(digest, "big")).random

    def fraction(self) -> float:
        """Uniform in [0, 1)."""
        return self._random()

    def below(self, bound: int) -> int:
        """Uniform in 0 … bound - 1."""
        return int(self._random() * bound)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items, in random order; ValueError if there are fewer."""
        if count > len(items):
            raise ValueError(f"{count} of {len(items)} cannot be drawn")
        return [items[index] for index in islice(self.order(len(items)), count)]

    def letters(self, alphabet: str, length: int) -> str:
        return "".join(self.pick(alphabet) for _ in range(length))

    def shuffle(self, items: list[T]) -> None:
        """Shuffle in place, with all orders equally likely."""
        draw = self._random
        for last in range(len(items) - 1, 0, -1):
            other = int(draw() * (last + 1))
            items[last], items[other] = items[other], items[last]

    def order(self, count: int) -> Iterator[int]:
        """0 … count - 1 in random order, drawn one at a time, so that taking more never changes the first ones."""
        moved: dict[int, int] = {}
        for position in range(count):
            other = position + self.below(count - position)
            yield moved.get(other, other)
            moved[other] = moved.pop(position, position)
