"""Differences are grouped by position, and by their distance from borders."""

import math

import pytest

from evalkit.analysis.agreement.gaps import Gaps, by_position, departure, gap_group
from evalkit.analysis.agreement.rounding import Rounding

EXACT = Rounding((), (), 0.1, 1.5, "float32")


def gaps(tokens: int, bad: dict[int, float]) -> Gaps:
    """Of the tokens 1 to `tokens` - 1 of a prompt."""
    return Gaps(1, tuple(bad.get(place, 0.01) for place in range(1, tokens)))


def test_a_gap_is_found_where_it_is() -> None:
    groups = {group.where: group for group in by_position(4096, [gaps(3000, {2050: 9.0})], {"block": 2048}, EXACT)}
    assert list(groups) == [
        "all positions",
        "0 to 1,023",
        "1,024 to 2,047",
        "2,048 to 2,999",
        "5 tokens at each border: block",
        "5 tokens at each border: power of two",
    ]
    assert [name for name, group in groups.items() if not group.agrees] == [
        "all positions",
        "2,048 to 2,999",
        "5 tokens at each border: block",
        "5 tokens at each border: power of two",
    ]
    assert (groups["all positions"].largest, groups["all positions"].largest_at) == (9.0, 2050)
    assert groups["5 tokens at each border: block"].tokens == 5


def test_the_departure_is_the_first_position_that_is_off() -> None:
    lost = gaps(300, dict.fromkeys(range(128, 300), 2.0))
    assert departure(lost, EXACT) == 128
    assert departure(gaps(300, {}), EXACT) is None


def test_no_number_never_agrees() -> None:
    group = gap_group(512, "all positions", [gaps(20, {7: math.nan})], EXACT)
    assert group is not None
    assert (group.agrees, group.largest_at) == (False, 7)
    assert departure(gaps(20, {7: math.nan}), EXACT) == 7


def test_prompts_are_joined_and_nothing_is_no_group() -> None:
    group = gap_group(512, "all positions", [gaps(11, {}), gaps(21, {})], EXACT)
    assert group is not None
    assert (group.tokens, group.rms) == (30, pytest.approx(0.01))
    assert gap_group(512, "all positions", [], EXACT) is None
