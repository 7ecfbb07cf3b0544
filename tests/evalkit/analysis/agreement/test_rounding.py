"""Bounds follow the worst window of the model's own rounding error."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.agreement.rounding import Rounding, root_mean_square

GAPS = st.lists(st.floats(0, 10), min_size=1, max_size=30)


def rounding(gaps: list[float], least: float = 0.0) -> Rounding:
    return Rounding(tuple(gaps), tuple(gaps), least, 1.5, "bfloat16")


@given(GAPS, st.integers(1, 40))
def test_the_bound_is_that_of_the_worst_window(gaps: list[float], tokens: int) -> None:
    count = min(tokens, len(gaps))
    worst = max(root_mean_square(gaps[start : start + count]) for start in range(len(gaps) - count + 1))
    assert rounding(gaps).token_bound(tokens) == pytest.approx(3 * worst, abs=1e-6)


@given(GAPS)
def test_fewer_tokens_are_allowed_more(gaps: list[float]) -> None:
    bounds = [rounding(gaps).token_bound(1), rounding(gaps).token_bound(len(gaps))]
    assert bounds[0] >= bounds[1] - 1e-6
    assert rounding(gaps).margin_bound == pytest.approx(3 * max(gaps))


def test_a_tiny_error_of_its_own_is_no_measure() -> None:
    assert rounding([1e-9] * 4, least=0.01).token_bound(4) == pytest.approx(0.03)


def test_in_fp32_only_the_least_error_is_allowed() -> None:
    exact = Rounding((), (), 2e-4, 1.5, "float32")
    assert exact.token_bound(100) == exact.margin_bound == 2e-4
    assert exact.statement == "float32 on both sides: 2.0e-04 nats allowed"


def test_what_is_no_number_is_beyond_every_bound() -> None:
    assert not root_mean_square([0.0, math.nan]) <= rounding([1.0]).token_bound(2)
