"""Intervals hold what they promise, and say nothing where nothing can be said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.statistics.intervals import bootstrap_mean_ci, bootstrap_mean_of_means_ci

scores = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=20)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_have_no_interval(values: list[float]) -> None:
    assert bootstrap_mean_ci(values, seed=0) is None
    assert bootstrap_mean_of_means_ci([[0.0, 1.0], values], seed=0) is None


def test_no_group_has_no_interval() -> None:
    assert bootstrap_mean_of_means_ci([], seed=0) is None


def test_equal_values_leave_no_doubt() -> None:
    assert bootstrap_mean_ci([0.5] * 10, seed=0) == (0.5, 0.5)
    assert bootstrap_mean_of_means_ci([[0.0] * 3, [1.0] * 2], seed=0) == (0.5, 0.5)


@given(st.lists(scores, min_size=1, max_size=4), st.integers(0, 2**32))
def test_an_interval_is_reproducible_and_lies_within_the_values(groups: list[list[float]], seed: int) -> None:
    interval = bootstrap_mean_of_means_ci(groups, seed=seed, resamples=50)
    assert interval is not None
    assert interval == bootstrap_mean_of_means_ci(groups, seed=seed, resamples=50)
    low, high = interval
    assert float(np.mean([min(group) for group in groups])) <= low + 1e-12
    assert low <= high
    assert high <= float(np.mean([max(group) for group in groups])) + 1e-12


@given(scores, st.integers(0, 2**32))
def test_one_group_is_the_plain_mean(values: list[float], seed: int) -> None:
    assert bootstrap_mean_ci(values, seed=seed, resamples=50) == bootstrap_mean_of_means_ci(
        [values], seed=seed, resamples=50
    )


def test_groups_are_resampled_within_themselves() -> None:
    # Were they pooled, the mean would vary with how many of each group are drawn.
    interval = bootstrap_mean_of_means_ci([[0.0, 0.0, 0.0, 0.1], [1.0, 1.0, 1.0, 0.9]], seed=0)
    assert interval is not None
    assert interval[1] - interval[0] < 0.06


def test_groups_weigh_the_same_whatever_their_size() -> None:
    interval = bootstrap_mean_of_means_ci([[0.0] * 999 + [0.001], [1.0, 1.0]], seed=0)
    assert interval is not None
    assert interval == pytest.approx((0.5, 0.5), abs=1e-3)


def test_the_interval_of_a_mean_agrees_with_theory() -> None:
    values = np.random.default_rng(3).normal(10.0, 2.0, size=400)
    interval = bootstrap_mean_ci(list(values), seed=0)
    half_width = 1.96 * values.std() / 20
    assert interval == pytest.approx((values.mean() - half_width, values.mean() + half_width), abs=0.03)


def test_95_of_100_intervals_hold_the_true_mean() -> None:
    draws = np.random.default_rng(5).random((300, 60)) < 0.7
    intervals = [bootstrap_mean_ci(list(draw.astype(float)), seed=1, resamples=300) for draw in draws]
    held = sum(low <= 0.7 <= high for low, high in (interval for interval in intervals if interval is not None))
    # 3 standard errors of a share of 0.95 in 300 draws; the percentile bootstrap is a little narrow.
    assert 0.90 <= held / 300 <= 0.99
