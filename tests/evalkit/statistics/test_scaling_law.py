"""The fit recovers the law behind the points, in any unit of tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.statistics.scaling_law import ScalingLaw, fit

TOKENS = np.geomspace(1e9, 1e12, 6)


def points(
    floor: float, coefficient: float, exponent: float, tokens: np.ndarray = TOKENS
) -> tuple[np.ndarray, np.ndarray]:
    return tokens, floor + coefficient / tokens**exponent


@settings(max_examples=25)
@given(st.floats(0.5, 3), st.floats(0.1, 1.0), st.floats(0.5, 2.0))
def test_one_curve_is_found_again(floor: float, exponent: float, bend: float) -> None:
    coefficient = bend * 1e9**exponent
    found = fit([points(floor, coefficient, exponent)])
    assert found is not None
    assert found.determined
    assert found.floor == pytest.approx(floor, rel=1e-2)
    assert found.exponent == pytest.approx(exponent, rel=1e-2)
    assert found.rms < 1e-5
    assert found.loss(2e10) == pytest.approx(floor + coefficient / 2e10**exponent, rel=1e-4)
    assert found.tokens(found.loss(5e11)) == pytest.approx(5e11, rel=1e-6)


def test_two_curves_share_what_they_are_made_of() -> None:
    """The published coefficients imply 35 % fewer tokens, at the exponent that they were fitted with."""
    exponent = 0.291
    shared = fit([points(1.7, 83.7, exponent), points(1.7, 94.9, exponent)])
    assert shared is not None
    assert shared.coefficients == pytest.approx((83.7, 94.9), rel=1e-2)
    ratio = shared.data_ratio(0, 1)
    assert ratio is not None
    assert 1 - ratio == pytest.approx(0.35, abs=0.005)
    assert [len(of_curve) for of_curve in shared.residuals] == [6, 6]


@given(st.floats(1e-6, 1e6))
def test_the_unit_of_tokens_does_not_matter(unit: float) -> None:
    one = fit([points(1.7, 83.7, 0.3), points(1.7, 94.9, 0.3)])
    other = fit([(tokens * unit, losses) for tokens, losses in (points(1.7, 83.7, 0.3), points(1.7, 94.9, 0.3))])
    assert one is not None
    assert other is not None
    assert other.data_ratio(0, 1) == pytest.approx(one.data_ratio(0, 1), rel=1e-4)


def test_noise_stays_in_the_residuals() -> None:
    tokens, losses = points(1.7, 50.0, 0.2, np.geomspace(1e9, 1e12, 40))
    noise = np.random.default_rng(0).normal(0, 0.01, 40)
    found = fit([(tokens, losses + noise)])
    assert found is not None
    assert found.rms == pytest.approx(0.01, rel=0.3)
    assert sum(found.residuals[0]) == pytest.approx(0, abs=1e-6)


def test_too_few_points_are_not_fitted() -> None:
    tokens, losses = points(1.7, 50.0, 0.2)
    assert fit([(tokens[:3], losses[:3])]) is None
    assert fit([(tokens[:4], losses[:4])]) is not None
    assert fit([(tokens[:3], losses[:3]), (tokens[:1], losses[:1])]) is None
    assert fit([(tokens[:2], losses[:2]), (tokens[:2], losses[:2])]) is None
    assert fit([(tokens[:3], losses[:3]), (tokens[:2], losses[:2])]) is not None


def test_a_flat_or_rising_curve_is_not_told() -> None:
    flat = fit([(TOKENS, np.full(6, 2.0))])
    assert flat is not None
    assert flat.coefficients[0] == pytest.approx(0.0, abs=1e-6)
    assert flat.tokens(1.5) is None
    falling_straight = fit([(TOKENS, 5 - np.log(TOKENS) / 10)])
    assert falling_straight is not None
    assert not falling_straight.determined
    assert ScalingLaw(1.0, 1.0, (0.0, 1.0), (), 0.0, determined=True).data_ratio(0, 1) is None


def test_tokens_beyond_any_number_are_none() -> None:
    assert ScalingLaw(0.0, 0.01, (1e9,), (), 0.0, determined=True).tokens(1e-9) is None
