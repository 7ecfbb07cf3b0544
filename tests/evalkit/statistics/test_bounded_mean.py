"""The bound of a mean with any spread, compared with Clopper and Pearson, with drawing, and with rare events."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evalkit.statistics.bounded_mean import gaffke_bound

tenths = st.integers(-10, 10).map(lambda number: number / 10)


def equal_weights(n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.full(n, 1 / n)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 100, 1300])
@pytest.mark.parametrize("tail", [0.25, 0.025, 0.0005])
def test_two_values_have_clopper_and_pearsons_bound(n: int, tail: float) -> None:
    for worse in {0, 1, n // 2, n}:
        values = np.repeat([-1.0, 0.0], [worse, n - worse])
        right = n - worse
        expected = stats.beta.ppf(tail, right, worse + 1) - 1 if right else -1.0
        assert gaffke_bound(values, equal_weights(n), tail) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("tail", [0.25, 0.025])
def test_it_is_a_quantile_of_means_with_drawn_weights(tail: float) -> None:
    rng = np.random.default_rng(0)
    values = np.array([-0.25, 0.0, 0.0, 0.1, 1.0, 1.0, -0.5, 0.3])
    weights = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 1.0, 1.0, 0.5])
    spacings = rng.standard_exponential((200_000, 9)) * [*weights, weights.max()]
    drawn = spacings @ np.append(values, -1.0) / spacings.sum(axis=1)
    found = gaffke_bound(values, weights / weights.sum(), tail)
    assert np.mean(drawn <= found) == pytest.approx(tail, abs=0.004)


@settings(max_examples=50, deadline=None)
@given(st.lists(tenths, min_size=1, max_size=30), st.sampled_from([0.25, 0.05, 0.025, 0.0005]))
def test_it_is_below_the_mean_and_on_the_scale(values: list[float], tail: float) -> None:
    found = gaffke_bound(np.array(values), equal_weights(len(values)), tail)
    assert -1 <= found <= np.mean(values) + 1e-9
    assert found == gaffke_bound(np.array(values[::-1]), equal_weights(len(values)), tail)
    better = gaffke_bound(np.minimum(np.array(values) + 0.1, 1), equal_weights(len(values)), tail)
    assert better >= found - 1e-6


@pytest.mark.parametrize(("gains", "loss"), [(1, 0.1), (2, 0.25), (4, 0.1)])
def test_rare_gains_that_were_missed_are_allowed_for(gains: int, loss: float) -> None:
    """With mean zero, small losses are frequent and large gains rare, so that many samples contain no gain.

    Student's interval reports a loss in a tenth to a third of them.
    """
    rng = np.random.default_rng(gains)
    n, rate = 100, gains / 100
    claimed = students = 0
    for _ in range(200):
        chance = rng.random(n)
        values = np.where(chance < rate, 1.0, np.where(chance < rate * (1 + 1 / loss), -loss, 0.0))
        claimed += gaffke_bound(-values, equal_weights(n), 0.025) > 0
        students += bool(stats.ttest_1samp(values, 0).confidence_interval(0.95).high < 0)
    assert claimed <= stats.binom.ppf(0.999, 200, 0.025)
    assert students > stats.binom.ppf(0.999, 200, 0.025)
