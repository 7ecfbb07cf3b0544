"""The eight needle tasks: retrieve the values of keys."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic

from suites.draws import Draws
from suites.ruler import words
from suites.ruler.fitting import Layout, SizeT
from suites.ruler.haystacks import NEEDLE, Haystack
from suites.ruler.tasks import NeedleTask

ONE = (
    "A special magic {kind} is hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n{context}\n"
    "What is the special magic {kind} for {query} mentioned in the provided text?"
)
ONE_PREFIX = " The special magic {kind} for {query} mentioned in the provided text is"
SEVERAL = (
    "Some special magic {kind} are hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n{context}\n"
    "What are all the special magic {kind} for {query} mentioned in the provided text?"
)
SEVERAL_PREFIX = " The special magic {kind} for {query} mentioned in the provided text are"

DEPTHS: tuple[float, ...] = tuple(round(100 * step / 39) / 100 for step in range(40))
"""The 40 depths of needles in essays, as fractions."""
_NEEDLE = re.compile(r"One of the special magic \w+ for (?P<key>[^\n]+?) is: (?P<value>[\w-]+)\.")


@dataclass(frozen=True, slots=True)
class Needle:
    """One hidden sentence; `depth` is the fraction of the haystack before it."""

    text: str
    key: str
    value: str
    depth: float


def draw_needles(task: NeedleTask, draws: Draws, taken: set[str]) -> list[Needle]:
    """The needles of the task, grouped by key; the requested ones come first."""
    keys = list(islice(words.distinct(task.key_kind, draws, taken), task.keys))
    values = list(islice(words.distinct(task.value_kind, draws, taken), task.keys * task.values))
    depths = _depths(task, draws)
    return [
        Needle(NEEDLE.format(kind=task.value_kind, key=key, value=value), key, value, next(depths))
        for key, value in zip([key for key in keys for _ in range(task.values)], values, strict=True)
    ]


def _depths(task: NeedleTask, draws: Draws) -> Iterator[float]:
    if task.haystack == "essays":
        return (DEPTHS[place] for place in draws.order(len(DEPTHS)))
    return iter(draws.fraction, None)


def found(prompt: str) -> list[Needle]:
    """The needles of a prompt that was prepared elsewhere, in reading order; depths by characters."""
    start, end = prompt.find("\n") + 1, max(prompt.rfind("\n"), 1)
    return [
        Needle(match[0], match["key"], match["value"], min(max(match.start() - start, 0) / max(end - start, 1), 1.0))
        for match in _NEEDLE.finditer(prompt)
    ]


def plant(units: list[str], joint: str, planted: list[tuple[str, float]]) -> tuple[str, list[int]]:
    """Insert texts between `units` at their depths; returns all units and the index of each text among them.

    A depth of 0 is before the first unit, 1 after the last; texts at the same place are ordered by depth.
    """
    ranked = sorted(range(len(planted)), key=lambda index: planted[index][1])
    pieces: list[str] = []
    places = [0] * len(planted)
    done = 0
    for index in ranked:
        text, depth = planted[index]
        until = int(len(units) * depth)
        pieces += units[done:until]
        places[index] = len(pieces)
        pieces.append(text)
        done = until
    pieces += units[done:]
    return joint.join(pieces), places


class NeedleDraft(Generic[SizeT]):
    """A needle sample whose size is still open."""

    def __init__(self, task: NeedleTask, needles: list[Needle], haystack: Haystack[SizeT]) -> None:
        asked = needles[: task.queries * task.values]
        one = len(asked) == 1
        self._kind = task.value_kind.removesuffix("s") if one else task.value_kind
        self._template = ONE if one else SEVERAL
        self._query = listed(list(dict.fromkeys(needle.key for needle in asked)))
        self._needles, self._asked, self._haystack = needles, len(asked), haystack
        self.prefix = (ONE_PREFIX if one else SEVERAL_PREFIX).format(kind=self._kind, query=self._query)
        self.targets = tuple(needle.value for needle in asked)
        self.smallest = haystack.smallest

    def largest(self, tokens: int) -> SizeT:
        return self._haystack.largest(tokens)

    def layout(self, size: SizeT) -> Layout:
        laid = self._haystack.lay(size)
        planted = [(needle.text, needle.depth) for needle in self._needles]
        context, places = plant(laid.units, self._haystack.joint, planted)
        return Layout(
            body=self._template.format(kind=self._kind, context=context, query=self._query),
            depths=tuple(needle.depth for needle in self._needles),
            gold_positions=tuple(places[: self._asked]),
            distractors=(*(needle.value for needle in self._needles[self._asked :]), *laid.distractors),
        )


def listed(items: list[str]) -> str:
    """`a`, or `a, b, and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])}, and {items[-1]}"
