"""What is kept of a long prompt: its two ends, and the surroundings of what the right answer rests on."""

import re
from collections.abc import Iterable, Sequence

from evalkit.records import Excerpt, Sample

HEAD_CHARACTERS = 160
TAIL_CHARACTERS = 480
AROUND_CHARACTERS = 80
"""On each side of a place."""
PLACE_CHARACTERS = 120
"""The longest part of one place that is kept."""
PLACES = 5
"""Places that are kept; with the ends they take at most 2,040 characters."""
SHORTEST_TARGET = 4
"""Characters of a target that is worth looking for: shorter ones, such as the letter of a choice, are everywhere."""

Span = tuple[int, int]
"""(start, end) in characters of a text."""


def excerpts(sample: Sample) -> tuple[Excerpt, ...]:
    """The start of the prompt, the first places of its evidence, and its end, in their order; a short prompt whole."""
    length = len(sample.prompt)
    evidence = sorted({(start, min(end, start + PLACE_CHARACTERS)) for start, end in sample.evidence})
    wanted = [(0, HEAD_CHARACTERS), (length - TAIL_CHARACTERS, length)]
    wanted += [(start - AROUND_CHARACTERS, end + AROUND_CHARACTERS) for start, end in evidence[:PLACES]]
    pieces = _merged((max(start, 0), min(end, length)) for start, end in wanted)
    return tuple(Excerpt(start, sample.prompt[start:end], _inside(evidence, start, end)) for start, end in pieces)


def _inside(places: Iterable[Span], start: int, end: int) -> tuple[Span, ...]:
    """The places in a piece of the prompt, counted from its start."""
    found = [(max(first, start) - start, min(last, end) - start) for first, last in places]
    return tuple(_merged((first, last) for first, last in found if first < last))


def places_of(prompt: str, targets: Sequence[str]) -> tuple[Span, ...]:
    """Where each target first stands in a prompt as a word of its own, whatever its case; not all are found."""
    found = (
        re.search(rf"(?<!\w){re.escape(target)}(?!\w)", prompt, re.IGNORECASE)
        for target in targets
        if len(target) >= SHORTEST_TARGET
    )
    return tuple(match.span() for match in found if match is not None)


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in their order, those that touch one another as one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
