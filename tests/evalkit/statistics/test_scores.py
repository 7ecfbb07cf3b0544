"""Intervals of scores and losses, compared with scipy, with known truths, and with drawn samples."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evalkit.statistics.scores import MeanLoss, MeanScore

fractions = st.integers(0, 10).map(lambda number: number / 10)
groups = st.lists(st.lists(fractions, min_size=1, max_size=12), min_size=1, max_size=5)


def answers(right: int, n: int) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


@pytest.mark.parametrize(
    ("right", "n"), [(0, 1), (1, 1), (3, 3), (5, 5), (4, 5), (0, 25), (90, 100), (498, 500), (0, 500), (500, 500)]
)
def test_right_and_wrong_answers_have_clopper_and_pearsons_interval(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="exact")
    assert MeanScore.of([answers(right, n)]).interval() == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("sizes", [(1,), (5,), (1, 1, 1), (5,) * 13])
def test_samples_that_agree_leave_doubt(value: float, sizes: Sequence[int]) -> None:
    low, high = MeanScore.of([[value] * size for size in sizes]).interval()
    assert high - low > 2 / (3 + sum(sizes))
    assert low <= value <= high


def test_equal_means_of_tasks_have_nearly_the_interval_of_their_pooled_answers() -> None:
    pooled = MeanScore.of([answers(52, 65)]).interval()
    tasks = MeanScore.of([answers(4, 5)] * 13).interval()
    assert tasks == pytest.approx(pooled, abs=0.015)


def test_spread_between_tasks_is_no_uncertainty() -> None:
    """A mean of six tasks at 1 and six at 0 has a narrow interval, although single answers vary by the whole scale."""
    pooled = MeanScore.of([answers(600, 1200)]).interval()
    low, high = MeanScore.of([answers(100, 100)] * 6 + [answers(0, 100)] * 6).interval()
    assert high - low < 0.4 * (pooled[1] - pooled[0])
    assert low < 0.5 < high


@settings(max_examples=40)
@given(groups)
def test_an_interval_holds_its_mean_and_mirrors(values: list[list[float]]) -> None:
    score = MeanScore.of(values)
    low, high = score.interval()
    assert 0 <= low <= score.mean + 1e-9
    assert score.mean - 1e-9 <= high <= 1
    assert high - low > 0
    mirrored = MeanScore.of([[1 - value for value in group] for group in values]).interval()
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-6)
    narrow = score.interval(0.8)
    assert low <= narrow[0] + 1e-9
    assert narrow[1] <= high + 1e-9


@settings(max_examples=20)
@given(groups)
def test_the_order_of_tasks_and_samples_changes_nothing(values: list[list[float]]) -> None:
    turned = [group[::-1] for group in values[::-1]]
    assert MeanScore.of(values).interval() == pytest.approx(MeanScore.of(turned).interval(), abs=1e-7)


@pytest.mark.parametrize(("n", "rate"), [(5, 0.9), (20, 0.98), (100, 0.98)])
def test_the_interval_covers_the_truth_of_few_answers_near_the_ceiling(n: int, rate: float) -> None:
    """A percentile bootstrap covers 40 % at n = 5 and 87 % at n = 100."""
    chances = stats.binom.pmf(np.arange(n + 1), n, rate)
    covered = 0.0
    for right, chance in enumerate(chances):
        low, high = MeanScore.of([answers(right, n)]).interval()
        covered += chance * (low <= rate <= high)
    assert covered >= 0.95


def test_means_of_tasks_cover_the_truth_where_one_task_fails_often() -> None:
    rng = np.random.default_rng(0)
    rates = [1.0] * 11 + [0.9, 0.4]
    draws = 200
    missed = 0
    for _ in range(draws):
        low, high = MeanScore.of([rng.binomial(1, rate, 20).astype(float) for rate in rates]).interval()
        missed += not low <= np.mean(rates) <= high
    assert missed <= stats.binom.ppf(0.999, draws, 0.05)


def test_one_length_against_a_share_of_another() -> None:
    long, short = MeanScore.of([answers(80, 100)]), MeanScore.of([answers(95, 100)])
    margin = long.minus(0.85, short)
    low, high = margin.interval()
    assert margin.mean == pytest.approx(0.80 - 0.85 * 0.95)
    assert low < margin.mean < high
    # Wald's interval is a good approximation for a hundred answers.
    error = math.sqrt(0.8 * 0.2 / 100 + 0.85**2 * 0.95 * 0.05 / 100)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_the_detectable_difference_shrinks_with_samples_and_is_never_zero() -> None:
    sizes = [MeanScore.of([[1.0] * n]).detectable() for n in (2, 6, 20, 100, 1000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 1
    assert sizes[-1] > 0


def test_many_distinct_fractions_are_rounded_down_and_no_more() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(3_000)
    low, high = MeanScore.of([values]).interval()
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert low == pytest.approx(student.low, abs=0.002)
    assert high == pytest.approx(student.high, abs=0.002)


class TestLosses:
    def test_equal_weights_have_students_interval_with_its_upper_end_on_a_logarithmic_scale(self) -> None:
        values = np.random.default_rng(0).normal(1.0, 0.1, 30)
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        upper = values.mean() * math.exp(expected.high / values.mean() - 1)
        assert MeanLoss.of(values, np.ones(30)).interval() == pytest.approx((expected.low, upper))

    def test_the_mean_is_a_ratio_of_sums(self) -> None:
        nats, tokens = np.array([10.0, 30.0, 5.0]), np.array([10.0, 20.0, 4.0])
        assert MeanLoss.of(nats / tokens, tokens).mean == pytest.approx(45 / 34)

    def test_one_window_and_windows_that_agree_have_no_interval(self) -> None:
        assert MeanLoss.of([1.0], [5.0]).interval() is None
        assert MeanLoss.of([1.0, 1.0], [5.0, 6.0]).interval() is None
