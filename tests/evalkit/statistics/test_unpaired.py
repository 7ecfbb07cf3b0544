"""Differences between two samples of questions, compared with Fisher's exact test and Welch's t."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evalkit.statistics.scores import MeanLoss, MeanScore
from evalkit.statistics.unpaired import (
    detectable_unpaired,
    difference_interval,
    difference_p,
    welch,
)


def score(right: int, asked: int) -> MeanScore:
    return MeanScore.of([np.concatenate([np.ones(right), np.zeros(asked - right)])])


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40))
def test_one_right_or_wrong_task_agrees_with_fisher(left: int, right: int) -> None:
    base, new = score(left, 40), score(right, 40)
    table = [[left, 40 - left], [right, 40 - right]]
    fisher = min(1.0, 2 * min(stats.fisher_exact(table, side).pvalue for side in ("less", "greater")))
    assert difference_p(base, new) == pytest.approx(fisher, rel=1e-4, abs=1e-14)
    if abs(fisher - 0.05) > 1e-3:
        low, high = difference_interval(base, new)
        assert (low > 0 or high < 0) == (fisher < 0.05)


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40))
def test_the_other_way_round_is_the_mirror(left: int, right: int) -> None:
    base, new = score(left, 40), score(right, 40)
    low, high = difference_interval(base, new)
    assert difference_interval(new, base) == (-high, -low)
    assert difference_p(base, new) == difference_p(new, base)
    assert detectable_unpaired(base, new) == detectable_unpaired(new, base)
    assert low <= new.mean - base.mean <= high


def test_a_mean_over_tasks_carries_more_than_its_pooled_answers() -> None:
    """Answers vary less if each task is all right or all wrong than if they are drawn from the mean."""
    groups = [np.ones(50), np.zeros(50), (np.arange(50) < 25).astype(float)]
    mean = MeanScore.of(groups)
    assert mean.mean == pytest.approx(0.5)
    assert mean.variance < 0.6 * MeanScore.of([np.concatenate(groups)]).variance


def test_single_answers_count_as_a_binomial() -> None:
    two = MeanScore.of([np.array([1.0]), np.array([0.0])])
    pooled = MeanScore.of([np.array([1.0, 0.0])])
    assert difference_interval(two, two) == pytest.approx(difference_interval(pooled, pooled))


def test_pairing_is_stronger() -> None:
    from evalkit.statistics.paired import pool

    base = (np.arange(200) < 150).astype(float)
    new = base.copy()
    new[:12] = 0
    paired = pool([new - base], bounded=True).interval() or (0, 0)
    low, high = difference_interval(MeanScore.of([base]), MeanScore.of([new]))
    assert high - low > 2 * (paired[1] - paired[0])


def test_losses_agree_with_welch() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(1.0, 0.1, 30), rng.normal(1.05, 0.2, 50)
    base, new = MeanLoss.of(left, np.full(30, 1 / 30)), MeanLoss.of(right, np.full(50, 1 / 50))
    interval, p, _ = welch(base, new) or pytest.fail("no interval")
    theirs = stats.ttest_ind(right, left, equal_var=False)
    assert p == pytest.approx(theirs.pvalue, rel=1e-6)
    expected = theirs.confidence_interval(0.95)
    assert interval == pytest.approx((expected.low, expected.high), rel=1e-6)
    assert welch(MeanLoss.of([1.0], [1.0]), new) is None


def test_two_windows_a_side_see_what_welchs_test_sees() -> None:
    """The noncentral distribution is exact here: both sides have the same variance and number of windows."""
    base = MeanLoss.of(np.array([1.0, 1.2]), np.full(2, 0.5))
    new = MeanLoss.of(np.array([1.1, 1.3]), np.full(2, 0.5))
    _, _, named = welch(base, new) or pytest.fail("no interval")
    error = ((base.variance or 0) + (new.variance or 0)) ** 0.5
    assert stats.nct.sf(stats.t.ppf(0.975, 2), 2, named / error) == pytest.approx(0.8, abs=1e-5)


def test_equal_models_are_rarely_distinguished_without_pairs() -> None:
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(100):
        base, new = ([(rng.random(20) < 0.9).astype(float) for _ in range(13)] for _ in range(2))
        low, high = difference_interval(MeanScore.of(base), MeanScore.of(new))
        outside += low > 0 or high < 0
    assert outside <= 0.05 * 100 + 2 * (0.05 * 0.95 * 100) ** 0.5


def test_fractions_that_agree_leave_doubt() -> None:
    """Identical scores are no evidence of a small spread: 20 scores of 0.9 do not prove a mean of 0.9."""
    base, new = MeanScore.of([[0.9] * 20]), MeanScore.of([[0.8] * 20])
    low, high = difference_interval(base, new)
    assert high - low > 0.1
    assert low <= new.mean - base.mean <= high
