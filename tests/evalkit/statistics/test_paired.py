"""Intervals, p values and power of paired differences, compared with scipy and with counting."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from evalkit.statistics.paired import (
    PairedDifferences,
    any_spread_interval,
    detectable_sigmas,
    events_bound_above,
    fewest_events,
    holm,
    pool,
    two_sided_p,
)

quarters = st.sampled_from([-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0])
groups = st.lists(st.lists(quarters, min_size=1, max_size=12), min_size=1, max_size=4)


def changes(up: int, down: int, same: int, tasks: int = 1) -> PairedDifferences:
    """Right-or-wrong samples, as counts of those that rose, fell and stayed, split into `tasks` of equal size."""
    values = np.concatenate([np.ones(up), -np.ones(down), np.zeros(same)])
    return pool(np.split(values, tasks), bounded=True)


def test_the_interval_leaves_out_zero_exactly_where_the_sign_test_does() -> None:
    for up, down in itertools.product(range(13), repeat=2):
        pairs = changes(up, down, 60)
        low, high = pairs.interval() or (0, 0)
        p = stats.binomtest(up, up + down).pvalue if up + down else 1.0
        assert ((low > 0) or (high < 0)) == (p < 0.05), (up, down)
        assert pairs.p_value() == pytest.approx(p)


@pytest.mark.parametrize(("up", "down", "total"), [(20, 5, 500), (40, 5, 500), (30, 2, 100)])
@pytest.mark.parametrize("tail", [0.025, 0.05 / 65, 1e-4, 1e-5])
def test_the_bound_holds_its_level_in_a_policy_of_many_tests(up: int, down: int, total: int, tail: float) -> None:
    """The probability of rate × (2 share - 1) up to the bound, summed over 100,000 quantiles of the share."""
    low, _ = changes(up, down, total - up - down).interval(1 - 2 * tail) or (0, 0)
    edges = np.concatenate([[0], np.logspace(-12, 0, 100_000)])
    slopes = 2 * special.betaincinv(up, down + 1, (edges[1:] + edges[:-1]) / 2) - 1
    rates = np.clip(np.divide(low, slopes, out=np.ones_like(slopes), where=slopes > 0), 0, 1)
    if low <= 0:
        assert special.betainc(up, down + 1, 0.5) >= tail
        return
    below = np.where(slopes > 0, special.betainc(up + down, total - up - down + 1, rates), 1.0)
    assert float(np.diff(edges) @ below) == pytest.approx(tail, rel=2e-3)


def test_twenty_worse_and_five_better_of_five_hundred_are_reported() -> None:
    pairs = changes(5, 20, 475)
    assert pairs.mean == pytest.approx(-0.03)
    low, high = pairs.interval() or (0, 0)
    assert low == pytest.approx(-0.0527, abs=2e-4)
    assert high == pytest.approx(-0.0086, abs=2e-4)
    assert pairs.p_value() == pytest.approx(stats.binomtest(5, 25).pvalue)


@settings(max_examples=30)
@given(groups)
def test_seen_from_the_other_model_all_is_mirrored(values: list[list[float]]) -> None:
    pairs = pool([np.array(group) for group in values], bounded=True)
    mirrored = pairs.swapped()
    low, high = pairs.interval() or (0, 0)
    assert mirrored.interval() == (-high, -low)
    assert mirrored.p_value("row") == pairs.p_value("row")
    assert mirrored.detectable() == pairs.detectable()
    assert mirrored.mean == -pairs.mean


@settings(max_examples=30)
@given(groups, st.floats(0.5, 0.999))
def test_an_interval_holds_the_mean_and_no_more_than_the_scale(values: list[list[float]], confidence: float) -> None:
    pairs = pool([np.array(group) for group in values], bounded=True)
    low, high = pairs.interval(confidence) or (1, -1)
    assert -1 - 1e-9 <= low <= pairs.mean + 1e-9
    assert pairs.mean - 1e-9 <= high <= 1 + 1e-9


@settings(max_examples=30)
@given(groups)
def test_more_confidence_is_a_wider_interval(values: list[list[float]]) -> None:
    pairs = pool([np.array(group) for group in values], bounded=True)
    narrow, wide = pairs.interval(0.8) or (0, 0), pairs.interval(0.99) or (0, 0)
    assert wide[0] <= narrow[0] + 1e-9
    assert narrow[1] <= wide[1] + 1e-9


def test_nothing_changed_says_what_a_count_of_zero_says() -> None:
    """Clopper and Pearson's bound for 0 of 100, in both directions."""
    low, high = changes(0, 0, 100).interval() or (0, 0)
    bound = stats.binomtest(0, 100).proportion_ci(0.95, method="exact").high
    assert high == pytest.approx(bound)
    assert low == pytest.approx(-bound)


def test_all_changed_one_way_reaches_the_end_of_the_scale() -> None:
    low, high = changes(100, 0, 0).interval() or (0, 0)
    assert high == 1.0
    assert low == pytest.approx(0.915, abs=1e-3)


def test_a_mean_over_tasks_weighs_tasks_and_not_samples() -> None:
    pairs = pool([np.ones(10), np.zeros(30)], bounded=True)
    assert pairs.mean == pytest.approx(0.5)
    assert pairs.weights.sum() == pytest.approx(1.0)


@settings(max_examples=30)
@given(st.lists(quarters.filter(bool), min_size=1, max_size=10))
def test_few_signs_are_counted_and_not_drawn(values: list[float]) -> None:
    contributions = np.array(values) * 1.0
    if np.ptp(np.abs(contributions)) < 1e-9:
        return
    total = abs(sum(values))
    signs = itertools.product([-1, 1], repeat=len(values))
    sums = [abs(sum(sign * abs(value) for sign, value in zip(pattern, values, strict=True))) for pattern in signs]
    assert two_sided_p(contributions, seed=0) == pytest.approx(np.mean([value >= total - 1e-9 for value in sums]))


def test_many_fractions_are_drawn_with_a_seed_and_come_near_the_normal() -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([-0.5, -0.25, 0.25, 0.5, 0.75], size=400)
    contributions = values / 400
    p = two_sided_p(contributions, seed=1)
    assert two_sided_p(contributions, seed=1) == p
    z = contributions.sum() / np.sqrt(np.sum(contributions**2))
    assert p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.02)


def test_a_permutation_test_of_scipy_agrees() -> None:
    rng = np.random.default_rng(3)
    values = rng.choice([-0.75, -0.5, 0.25, 0.5], size=60)
    theirs = stats.permutation_test(
        (values, np.zeros_like(values)),
        lambda x, y, axis: np.sum(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).pvalue
    assert two_sided_p(values, seed=2) == pytest.approx(theirs, abs=0.02)


def exact_p(quarters_of_changes: list[int]) -> float:
    """The share of sign patterns whose sum is at least as far from zero, from the distribution of the sum."""
    total = sum(map(abs, quarters_of_changes))
    shares = np.zeros(2 * total + 1)
    shares[total] = 1.0
    for size in map(abs, quarters_of_changes):
        shares = (np.roll(shares, size) + np.roll(shares, -size)) / 2
    far = np.abs(np.arange(-total, total + 1)) >= abs(sum(quarters_of_changes))
    return float(shares[far].sum())


@settings(max_examples=30)
@given(st.integers(14, 80), st.floats(0, 0.3), st.integers(0, 10**6))
def test_a_p_below_what_resamples_show_is_never_below_the_exact_one(count: int, better: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    changed = [*(rng.integers(1, 5, count) * np.where(rng.random(count) < better, 1, -1)).tolist(), -1, -2]
    p, exact = two_sided_p(np.array(changed) / 4, seed=0), exact_p(changed)
    if p < 1e-4:
        assert exact <= p
    else:
        assert p == pytest.approx(exact, abs=0.02)


def test_a_large_difference_is_significant_among_hundreds_of_rows() -> None:
    """A drop of half a point in each of 60 answers, beside 600 rows without a difference."""
    drop = pool([np.array([-0.75, -0.5, -0.25] * 20)], bounded=True)
    assert holm([drop.p_value("vt@4096"), *[1.0] * 600])[0] < 1e-6


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_scipys_step_down(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    order = np.argsort(p_values, kind="stable")
    expected = np.minimum(1, np.maximum.accumulate(np.array(p_values)[order] * (len(p_values) - np.arange(len(order)))))
    assert np.allclose(np.array(adjusted)[order], expected)


def test_holms_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize(("up", "down", "same"), [(0, 0, 60), (3, 3, 54), (5, 0, 55), (5, 20, 475), (50, 50, 20)])
def test_right_and_wrong_answers_have_the_same_interval_under_any_spread(up: int, down: int, same: int) -> None:
    """Except near zero: there the sign test of a significant difference is slightly more conservative."""
    pairs = changes(up, down, same)
    low, high = pairs.interval() or (0, 0)
    other_low, other_high = any_spread_interval(pairs) or (0, 0)
    assert low <= other_low + 1e-6
    assert high >= other_high - 1e-6
    assert high - low == pytest.approx(other_high - other_low, rel=0.02)


def test_the_detectable_difference_of_fractions_is_detected_four_times_in_five() -> None:
    """Samples that lose one or two answers of ten, or win one, with losses slightly more frequent."""
    rng = np.random.default_rng(0)
    n, changed = 200, 0.4
    values = np.array([-0.2, -0.1, 0.1])

    def drawn(shares: list[float]) -> PairedDifferences:
        return pool([rng.choice([*values, 0.0], size=n, p=[*shares, 1 - sum(shares)])], bounded=True)

    named = drawn([0.1, 0.1, 0.3]).detectable() or 0
    # Distributions with mean -named in which `changed` of the samples change.
    worse = (named + 0.1 * changed) / 0.25
    shares = [worse / 2, worse / 2, changed - worse]
    assert values @ shares == pytest.approx(-named)
    told = [(drawn(shares).interval() or (0, 0))[1] < 0 for _ in range(150)]
    assert np.mean(told) == pytest.approx(0.8, abs=0.12)


def test_losses_use_students_interval() -> None:
    values = np.random.default_rng(0).normal(0.02, 0.1, 50)
    pairs = pool([values], bounded=False)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert pairs.interval() == pytest.approx((expected.low, expected.high))
    assert pool([np.array([0.5])], bounded=False).interval() is None
    assert pool([np.full(5, 0.5)], bounded=False).interval() == (0.5, 0.5)


def test_windows_weigh_by_their_bytes() -> None:
    pairs = pool([np.array([1.0, 0.0])], bounded=False, weights=[np.array([0.75, 0.25])])
    assert pairs.mean == pytest.approx(0.75)


def test_the_detectable_difference_is_detected_four_times_in_five() -> None:
    """Right-or-wrong pairs whose true difference is the detectable one, at the spread for which it was computed."""
    samples, changed_share = 1000, 0.2
    named = changes(100, 100, samples - 200).detectable() or 0
    share_up = (changed_share + named) / 2 / changed_share
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(300):
        changed = rng.binomial(samples, changed_share)
        told += stats.binomtest(int(rng.binomial(changed, share_up)), int(changed)).pvalue < 0.05
    assert told / 300 == pytest.approx(0.8, abs=0.07)


def test_no_difference_is_seen_with_fewer_changes_than_the_sign_test_needs() -> None:
    assert changes(0, 0, 100).detectable() == pytest.approx(fewest_events(0.95) / 100)
    assert stats.poisson.sf(5, fewest_events(0.95)) == pytest.approx(0.8)
    assert detectable_sigmas(0.95) == pytest.approx(1.96 + 0.8416, abs=1e-3)


@pytest.mark.parametrize("windows", [2, 3, 5, 12, 60])
def test_few_losses_see_only_what_a_t_test_would_see(windows: int) -> None:
    """Compared with the power of Student's t-test by the noncentral distribution, and with simulation."""
    spread = np.array([-1.0, 1.0] * (windows // 2) + [0.0] * (windows % 2))
    named = pool([spread], bounded=False).detectable() or 0
    error = spread.std(ddof=1) / windows**0.5
    told_from = stats.t.ppf(0.975, windows - 1)
    assert stats.nct.sf(told_from, windows - 1, named / error) == pytest.approx(0.8, abs=1e-5)
    drawn = np.random.default_rng(windows).normal(named, spread.std(ddof=1), (4000, windows))
    p = stats.ttest_1samp(drawn, 0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.025)


def test_two_windows_see_six_times_less_than_a_normal_quantile_says() -> None:
    assert detectable_sigmas(0.95, 1) == pytest.approx(16.334, abs=1e-3)
    assert detectable_sigmas(0.95, 2) == pytest.approx(5.653, abs=1e-3)
    assert detectable_sigmas(0.95, 1e6) == pytest.approx(detectable_sigmas(0.95), abs=1e-4)


def test_fewer_scores_than_the_sign_test_needs_see_nothing() -> None:
    assert changes(0, 0, 5).detectable() is None
    assert stats.binomtest(5, 5).pvalue > 0.05 > stats.binomtest(6, 6).pvalue
    assert changes(0, 0, 6).detectable() == 1.0
    assert changes(0, 0, 6).detectable(0.99) is None


def test_nothing_can_be_said_about_no_pairs() -> None:
    pairs = PairedDifferences(np.array([]), np.array([]), np.array([], dtype=np.int64), bounded=True)
    assert pairs.interval() is None
    assert pairs.detectable() is None
    assert pairs.p_value() == 1.0


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.95])
def test_two_equal_models_are_rarely_distinguished(rate: float) -> None:
    """Coverage at 13 tasks × 20 samples, for hard, medium and easy questions; see docs/statistics.md for the rest."""
    rng = np.random.default_rng(int(rate * 100))
    outside = 0
    for _ in range(150):
        base, new = (rng.random((2, 13, 20)) < rate).astype(float)
        low, high = pool(list(new - base), bounded=True).interval() or (0, 0)
        outside += low > 0 or high < 0
    assert outside <= 0.05 * 150 + 2 * (0.05 * 0.95 * 150) ** 0.5


@pytest.mark.parametrize("tail", [0.0025, 0.025, 0.2])
@pytest.mark.parametrize(
    ("up", "down", "same"), [(0, 0, 9), (0, 3, 0), (1, 9, 30), (9, 1, 30), (5, 0, 0), (20, 20, 60)]
)
def test_a_value_is_compared_with_the_bound_without_searching_for_it(
    up: int, down: int, same: int, tail: float
) -> None:
    interval = changes(up, down, same).interval(1 - 2 * tail)
    assert interval is not None
    for distance in (-2.0, -0.1, -1e-9, 1e-9, 0.1, 2.0):
        value = interval[0] + distance
        assert events_bound_above(up, down, up + down + same, tail, value) == (distance < 0)
