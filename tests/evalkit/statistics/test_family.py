"""Tests that share an error rate: Holm's procedure by way of confidence bounds."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evalkit.statistics.family import OneSidedTest, first_level, holm_decisions
from evalkit.statistics.paired import holm

Z = list[float]


def bound(estimate: float) -> Callable[[float], float]:
    """Lower bound of a normal mean with a standard error of 1."""
    return lambda level: estimate - float(stats.norm.isf(level))


def rejected(estimates: Z, error_rate: float = 0.05, level: float = 0.5) -> list[bool]:
    tests = [OneSidedTest(bound(estimate), 0.0, level) for estimate in estimates]
    return [decision.rejected for decision in holm_decisions(tests, error_rate)]


@given(st.lists(st.floats(-1, 5), min_size=1, max_size=8))
def test_the_decisions_are_those_of_holms_p_values(estimates: Z) -> None:
    adjusted = holm([float(stats.norm.sf(estimate)) for estimate in estimates])
    # Close to the threshold, rounding decides.
    if all(abs(p - 0.05) > 1e-6 for p in adjusted):
        assert rejected(estimates) == [p < 0.05 for p in adjusted]


def test_a_rejected_test_passes_its_share_on() -> None:
    assert rejected([1.8]) == [True]
    assert rejected([1.8, 0.0]) == [False, False]
    assert rejected([1.8, 9.0]) == [True, True]


def test_the_own_level_of_a_test_caps_its_share() -> None:
    strict = OneSidedTest(bound(1.8), 0.0, 0.025)
    (decision,) = holm_decisions([strict], 0.05)
    assert (decision.rejected, decision.level) == (False, 0.025)
    assert first_level(0.025, 0.05, 1) == 0.025
    assert first_level(0.025, 0.05, 13) == pytest.approx(0.05 / 13)


def test_a_test_without_bound_rejects_nothing() -> None:
    unknown = OneSidedTest(lambda level: None, 0.0, 0.025)
    decisions = holm_decisions([unknown, OneSidedTest(bound(9.0), 0.0, 0.025)], 0.05)
    assert [decision.rejected for decision in decisions] == [False, True]
    assert decisions[0].bound is None


def test_the_family_wise_rate_is_kept_with_and_without_dependence() -> None:
    rng = np.random.default_rng(7)
    draws, tests = 1000, 13
    for shared in (0.0, 0.9):
        common = rng.standard_normal((draws, 1))
        estimates = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.standard_normal((draws, tests))
        alone = np.mean([max(row) > stats.norm.isf(0.025) for row in estimates])
        together = np.mean([any(rejected(list(row))) for row in estimates])
        # Two standard errors of 1,000 draws at 5 % are 1.4 %.
        assert together <= 0.064
        assert alone > 0.05
