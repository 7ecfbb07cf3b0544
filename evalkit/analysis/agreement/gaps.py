"""Differences of log-probabilities between two engines, by position and at borders."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.analysis.agreement.records import GapGroup
from evalkit.analysis.agreement.rounding import Rounding, root_mean_square

BORDER_TOKENS = 5
"""Tokens from a border on: the one that the last position before it predicts, and four that the first ones after do."""
LEAST_RANGE = 1024
_WINDOW = 16


@dataclass(frozen=True, slots=True)
class Gaps:
    """Differences between two engines in one prompt, or in one answer."""

    first: int
    """Position of the first."""
    nats: tuple[float, ...]
    """Absolute, at successive positions."""

    @staticmethod
    def between(one: Sequence[float], other: Sequence[float], *, first: int) -> "Gaps":
        """Of two engines' log-probabilities of the same tokens."""
        return Gaps(first, tuple(abs(a - b) for a, b in zip(one, other, strict=False)))

    def at(self, wanted: Callable[[int], bool]) -> list[tuple[int, float]]:
        """Positions and differences where `wanted` holds."""
        return [(place, gap) for place, gap in enumerate(self.nats, start=self.first) if wanted(place)]


def gap_group(
    ctx: int, where: str, gaps: Sequence[Gaps], rounding: Rounding, wanted: Callable[[int], bool] = lambda _: True
) -> GapGroup | None:
    """All differences at the wanted positions together; None if there are none."""
    found = [pair for each in gaps for pair in each.at(wanted)]
    if not found:
        return None
    rms, bound = root_mean_square([gap for _, gap in found]), rounding.token_bound(len(found))
    # NaN is larger than everything.
    place, largest = max(found, key=lambda pair: float("inf") if pair[1] != pair[1] else pair[1])
    return GapGroup(ctx, where, len(found), rms, bound, largest, place, rms <= bound)


def by_position(ctx: int, gaps: Sequence[Gaps], blocks: Mapping[str, int], rounding: Rounding) -> Iterator[GapGroup]:
    """All positions, then ranges of positions that double, then the tokens at borders."""
    tokens = max((each.first + len(each.nats) for each in gaps), default=0)
    groups: dict[str, Callable[[int], bool]] = {"all positions": lambda _: True}
    start, end = 0, LEAST_RANGE
    while start < tokens and tokens > LEAST_RANGE:
        groups[f"{start:,} to {min(end, tokens) - 1:,}"] = _in_range(start, end)
        start, end = end, 2 * end
    for name, size in blocks.items():
        groups[f"{BORDER_TOKENS} tokens at each border: {name}"] = _at_multiples(size)
    groups[f"{BORDER_TOKENS} tokens at each border: power of two"] = _at_powers
    for where, wanted in groups.items():
        group = gap_group(ctx, where, gaps, rounding, wanted)
        if group is not None:
            yield group


def departure(gaps: Gaps, rounding: Rounding) -> int | None:
    """The first position from which on a few tokens in a row differ by more than rounding explains; None if none."""
    bound = rounding.token_bound(_WINDOW)
    for place, gap in enumerate(gaps.nats):
        # Written so that NaN departs too.
        if not gap <= bound and not root_mean_square(gaps.nats[place : place + _WINDOW]) <= bound:
            return gaps.first + place
    return None


def _in_range(start: int, end: int) -> Callable[[int], bool]:
    return lambda place: start <= place < end


def _at_multiples(size: int) -> Callable[[int], bool]:
    return lambda place: place >= size and place % size < BORDER_TOKENS


def _at_powers(place: int) -> bool:
    return place >= 2 * BORDER_TOKENS and place - (1 << (place.bit_length() - 1)) < BORDER_TOKENS
