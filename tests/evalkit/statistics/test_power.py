"""Power of tests of a drop, compared with what simulated pairs of runs do."""

import numpy as np
import pytest

from evalkit.statistics.paired import PairedDifferences, pool
from evalkit.statistics.power import Spread, above, at_most, detectable_drop, pairs_needed
from tests.evalkit.drawn_answers import answers

TOLERANCE = 0.06
"""Tolerance for a probability; two standard errors of 500 draws at 80 % are 0.036."""
DRAWS = 500


def shares(pairs: int, changed: float, drop: float, limit: float, tail: float) -> tuple[float, float]:
    """How often simulated lower bounds exceed the limit, and upper bounds do not."""
    rng = np.random.default_rng(1)
    intervals = [answers(rng, pairs, changed, drop).interval(1 - 2 * tail) or (-1.0, 1.0) for _ in range(DRAWS)]
    return (
        float(np.mean([low > limit + 1e-9 for low, _ in intervals])),
        float(np.mean([high <= limit + 1e-9 for _, high in intervals])),
    )


@pytest.mark.parametrize(
    ("pairs", "changed", "limit", "tail"),
    [(100, 0.1, 0.0, 0.025), (100, 0.1, 0.0, 0.05 / 13), (65, 0.3, 0.05, 0.025), (1300, 0.1, 0.01, 0.025)],
)
def test_a_detectable_drop_fails_in_four_of_five_runs(pairs: int, changed: float, limit: float, tail: float) -> None:
    spread = Spread("answers", pairs, changed)
    drop = detectable_drop(lambda drop: above(spread, drop, limit, tail), 1.0)
    assert drop is not None
    fails, _ = shares(pairs, max(changed + drop / 2, drop), drop, limit, tail)
    assert fails == pytest.approx(0.8, abs=TOLERANCE)


@pytest.mark.parametrize(("changed", "limit"), [(0.3, 0.15), (0.02, 0.04)])
def test_the_needed_pairs_show_that_there_is_no_drop(changed: float, limit: float) -> None:
    pairs = pairs_needed(Spread("answers", 10, changed), limit, 0.025)
    assert pairs is not None
    _, shown = shares(pairs, changed, 0.0, limit, 0.025)
    assert shown == pytest.approx(0.8, abs=TOLERANCE)
    assert at_most(Spread("answers", pairs // 2, changed), 0.0, limit, 0.025) < 0.7
    assert pairs_needed(Spread("answers", 10, changed), 0.0, 0.025) is None


def fractions(rng: np.random.Generator, drop: float) -> PairedDifferences:
    """Thirteen tasks of twenty samples with four answers each; NEW loses one slightly more often."""
    tasks = []
    for _ in range(13):
        size = rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5], size=20, p=[0.05, 0.1, 0.7, 0.1, 0.05])
        tasks.append(size + np.where((size == 0.0) & (rng.random(20) < drop / 0.7 / 0.25), 0.25, 0.0))
    return pool(tasks, bounded=True)


def test_fractions_are_detected_about_as_often_as_predicted() -> None:
    rng = np.random.default_rng(1)
    spread = Spread.of(fractions(rng, 0.0))
    assert spread.kind == "fractions"
    drop = detectable_drop(lambda drop: above(spread, drop, 0.0, 0.025), 1.0)
    assert drop is not None
    fails = np.mean([(fractions(rng, drop).interval() or (-1.0, 1.0))[0] > 0 for _ in range(120)])
    # An approximation with 120 draws: two standard errors are 0.07.
    assert 0.65 <= fails <= 0.95


def test_losses_follow_students_power() -> None:
    rng = np.random.default_rng(2)
    spread = Spread("losses", 12, 0.04)
    drop = detectable_drop(lambda drop: above(spread, drop, 0.01, 0.025), 1.0)
    assert drop is not None
    rises = [pool([rng.normal(drop, 0.2, 12)], bounded=False).interval() or (0.0, 0.0) for _ in range(DRAWS)]
    assert np.mean([low > 0.01 for low, _ in rises]) == pytest.approx(0.8, abs=TOLERANCE)
    flat = pool([np.full(6, 0.25)], bounded=False)
    assert (above(Spread.of(flat), 0.3, 0.25, 0.025), above(Spread.of(flat), 0.2, 0.25, 0.025)) == (1.0, 0.0)
    assert above(Spread("losses", 1, 0.04), 9.0, 0.0, 0.025) == 0.0


def test_pairs_without_a_change_do_not_show_that_none_will_change() -> None:
    spread = Spread.of(pool([np.zeros(5)], bounded=True))
    assert (spread.kind, spread.square) == ("answers", pytest.approx(0.2))
    assert at_most(spread, 0.0, 0.1, 0.025) < 0.01
    assert detectable_drop(lambda drop: above(spread, drop, 0.0, 0.025), 1.0) is None


def test_six_changes_the_same_way_are_the_fewest_that_tell() -> None:
    everything_changes = [above(Spread("answers", pairs, 0.0), 1.0, 0.0, 0.025) for pairs in (5, 6)]
    assert everything_changes == pytest.approx([0.0, 1.0])
