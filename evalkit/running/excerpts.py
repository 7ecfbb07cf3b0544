"""Excerpts of a prompt, stored with its sample: the two ends, and what the right answer rests on in its context."""

import re
from collections.abc import Iterable, Sequence

from evalkit.records import Excerpt, Sample

HEAD_CHARACTERS = 160
TAIL_CHARACTERS = 480
AROUND_CHARACTERS = 80
"""Context on each side of a place."""
PLACE_CHARACTERS = 120
"""The most that is kept of one place."""
PLACES = 5
"""The most places that are kept."""
LONGEST = HEAD_CHARACTERS + TAIL_CHARACTERS + PLACES * (2 * AROUND_CHARACTERS + PLACE_CHARACTERS)
"""Characters of all excerpts of a prompt together: 2,040."""
SHORTEST_TARGET = 4
"""Characters of a target worth searching for: shorter ones, such as the letter of a choice, occur everywhere."""

Span = tuple[int, int]
"""(start, end) in characters of a text."""


def excerpts(sample: Sample) -> tuple[Excerpt, ...]:
    """The start of the prompt, the first places of its evidence, and its end; a short prompt is one excerpt."""
    length = len(sample.prompt)
    evidence = sorted({(start, min(end, start + PLACE_CHARACTERS)) for start, end in sample.evidence})
    wanted = [(0, HEAD_CHARACTERS), (length - TAIL_CHARACTERS, length)]
    wanted += [(start - AROUND_CHARACTERS, end + AROUND_CHARACTERS) for start, end in evidence[:PLACES]]
    pieces = _merged((max(start, 0), min(end, length)) for start, end in wanted)
    return tuple(Excerpt(start, sample.prompt[start:end], _inside(evidence, start, end)) for start, end in pieces)


def _inside(places: Iterable[Span], start: int, end: int) -> tuple[Span, ...]:
    """The places within [start, end) of the prompt, relative to `start`."""
    found = [(max(first, start) - start, min(last, end) - start) for first, last in places]
    return tuple(_merged((first, last) for first, last in found if first < last))


def places_of(prompt: str, targets: Sequence[str]) -> tuple[Span, ...]:
    """The first occurrence of each target in a prompt as whole words, ignoring case; targets not found are left out."""
    found = (
        re.search(rf"(?<!\w){re.escape(target)}(?!\w)", prompt, re.IGNORECASE)
        for target in targets
        if len(target) >= SHORTEST_TARGET
    )
    return tuple(match.span() for match in found if match is not None)


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, with those that touch joined."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
