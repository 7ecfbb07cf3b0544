"""Statistics of two models on the same samples: interval, p value and power of a weighted mean of differences.

A benchmark's mean is a weighted sum of its samples' scores (weights 1 / (tasks × samples of the task)). Right and
wrong answers are events: samples that got worse, got better, or did not change. Fractions are assumed only to lie in
[0, 1]. docs/statistics.md explains the choice of methods; benchmarks/gate_power.py measures them.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from evalkit.statistics.bounded_mean import gaffke_bound
from evalkit.statistics.intervals import CONFIDENCE, Interval

Array = npt.NDArray[np.float64]

POWER = 0.80
BOOTSTRAP_RESAMPLES = 9_999
# 2¹² sign patterns are fewer than the resamples, so all of them are enumerated instead of drawn.
_MOST_ENUMERATED = 12
_SAME = 1e-9
_NODES = 200
_END_POWER = 3
# A smaller step from one side of zero to the other is rounding.
_NEAR_ZERO = 1e-12
_TINY = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class PairedDifferences:
    """Differences of two models on the same samples, in the unit of the scores; made in a fixed order of samples."""

    differences: Array
    """Difference of each pair, such as new minus base."""
    weights: Array
    """Weight of each pair in the mean; weights add up to 1."""
    strata: npt.NDArray[np.int64]
    """Task of each pair, as a number: tasks are fixed, and samples are drawn within them."""
    bounded: bool
    """True for scores in [0, 1]; False for losses."""

    @property
    def mean(self) -> float:
        return float(self.weights @ self.differences)

    def swapped(self) -> "PairedDifferences":
        """The same pairs with the models exchanged."""
        return PairedDifferences(-self.differences, self.weights, self.strata, self.bounded)

    def interval(self, confidence: float = CONFIDENCE) -> Interval | None:
        """Two-sided interval of the mean difference; None if there are too few pairs."""
        if not self.bounded:
            return stratified_t_interval(self, confidence)
        return events_interval(self, confidence) if right_or_wrong(self) else any_spread_interval(self, confidence)

    def p_value(self, name: str = "") -> float:
        """Two-sided p of no difference; `name` seeds the bootstrap if one is needed."""
        return two_sided_p(self.weights * self.differences, seed=zlib.crc32(name.encode()))

    def detectable(self, confidence: float = CONFIDENCE) -> float | None:
        """The smallest true difference that this number of pairs detects with a power of 80 %."""
        return detectable_difference(self, confidence)


def pool(groups: Sequence[Array], *, bounded: bool, weights: Sequence[Array] | None = None) -> PairedDifferences:
    """The plain mean over `groups` (tasks) of their mean differences, as one weighted sample.

    `weights` are those of the pairs within their group and add up to 1 in each; equal by default.
    """
    sizes = [len(group) for group in groups]
    within = [np.full(size, 1 / size) for size in sizes] if weights is None else weights
    return PairedDifferences(
        differences=np.concatenate([np.asarray(group, dtype=np.float64) for group in groups]),
        weights=np.concatenate([group / len(groups) for group in within]),
        strata=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
        bounded=bounded,
    )


def two_sided_p(contributions: Array, *, seed: int) -> float:
    """Two-sided p value of the null hypothesis that the sum of `contributions` (weight × difference) is zero.

    If all changes have the same size (right and wrong answers), this is the exact sign test. Otherwise it is a paired
    bootstrap under the null: each pair keeps its size and draws its sign (the wild bootstrap with Rademacher
    multipliers), which is exact if the two models are exchangeable. Few signs are enumerated; a p below what resamples
    can show is bounded from above. Exchanging the models gives the same p. Wu, Jackknife, bootstrap and other
    resampling methods (1986); Liu (1988).
    """
    changed = contributions[np.abs(contributions) > _NEAR_ZERO]
    if len(changed) == 0:
        return 1.0
    sizes = np.abs(changed)
    if np.ptp(sizes) <= _SAME * sizes.max():
        from scipy import stats

        return float(stats.binomtest(int(np.sum(changed > 0)), len(changed)).pvalue)
    extreme = abs(changed.sum()) - _SAME * sizes.sum()
    if len(changed) <= _MOST_ENUMERATED:
        return float(np.mean(np.abs(_all_signs(len(changed)) @ changed) >= extreme))
    rng = np.random.default_rng(seed)
    hits = 0
    for size in _chunks(BOOTSTRAP_RESAMPLES, 1_000):
        signs = rng.integers(0, 2, size=(size, len(changed)), dtype=np.int8).astype(np.float64) * 2 - 1
        hits += int(np.sum(np.abs(signs @ changed) >= extreme))
    least = 1 / (1 + BOOTSTRAP_RESAMPLES)
    # Hoeffding, Probability inequalities for sums of bounded random variables (1963). Corrected for 500 rows, the least
    # p of resamples is 5 %, and no difference would be significant, however large.
    bound = 2 * math.exp(-(extreme**2) / (2 * float(changed @ changed)))
    return bound if bound < least else (1 + hits) * least


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for multiple comparisons (Holm, 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def right_or_wrong(pairs: PairedDifferences) -> bool:
    """Whether all weights are equal and each sample changed wholly or not at all."""
    if len(pairs.differences) == 0 or np.ptp(pairs.weights) > _SAME * pairs.weights.max():
        return False
    sizes = np.abs(pairs.differences)
    return bool(np.all((sizes < _SAME) | (np.abs(sizes - 1) < _SAME)))


def events_interval(pairs: PairedDifferences, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a mean difference of right and wrong answers of equal weight, compatible with the exact sign test.

    It excludes zero exactly when the sign test's p is below 1 - confidence. The confidence distributions of two
    binomials are melded: the number of samples that changed, and the direction of the changes. Fay, Proschan and
    Brittain, Combining one-sample confidence procedures for inference in the two-sample case (2015); Fay and Lumbard,
    Confidence intervals for difference in proportions for matched pairs compatible with exact McNemar's or sign tests
    (2021).
    """
    up, down = int(np.sum(pairs.differences > 0.5)), int(np.sum(pairs.differences < -0.5))
    total, tail = len(pairs.differences), (1 - confidence) / 2
    return _events_bound(up, down, total, tail), -_events_bound(down, up, total, tail)


def any_spread_interval(pairs: PairedDifferences, confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of a weighted mean difference of scores in [0, 1], valid for any distribution of the differences.

    A few large changes can outweigh many small ones and be missing from the sample, so the interval allows for one
    unseen change. For right and wrong answers it equals that of `events_interval`, except for rounding and near zero.
    """
    if len(pairs.differences) == 0:
        return None
    tail = (1 - confidence) / 2
    return (
        gaffke_bound(pairs.differences, pairs.weights, tail),
        -gaffke_bound(-pairs.differences, pairs.weights, tail),
    )


def stratified_t_interval(pairs: PairedDifferences, confidence: float = CONFIDENCE) -> Interval | None:
    """Student's interval of a mean over tasks of real-valued differences, with Satterthwaite's degrees of freedom.

    None if a task has fewer than two pairs.
    """
    moments = _strata_moments(pairs)
    if moments is None:
        return None
    variance, freedom = moments
    if variance == 0:
        return pairs.mean, pairs.mean
    from scipy import stats

    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * variance**0.5
    return pairs.mean - half, pairs.mean + half


def detectable_difference(pairs: PairedDifferences, confidence: float = CONFIDENCE) -> float | None:
    """The smallest true difference detected with a power of 80 %, given the observed spread.

    None if there are too few pairs to detect any difference. For scores it is at least what a test needs if all changes
    go one way: a minimum number of changed answers, or fractions that add up to more than one unseen sample could undo.
    """
    if not pairs.bounded:
        moments = _strata_moments(pairs)
        return None if moments is None else detectable_sigmas(confidence, moments[1]) * math.sqrt(moments[0])
    if len(pairs.differences) < fewest_changes(confidence):
        return None
    heaviest = float(pairs.weights.max())
    spread = math.sqrt(float(np.sum((pairs.weights * pairs.differences) ** 2)))
    if right_or_wrong(pairs):
        return min(1.0, max(detectable_sigmas(confidence) * spread, fewest_events(confidence) * heaviest))
    told_from, power = (NormalDist().inv_cdf(level) for level in ((1 + confidence) / 2, POWER))
    likely = heaviest + told_from * math.hypot(spread, heaviest) + power * spread
    return min(1.0, max(likely, -math.log((1 - confidence) / 2) * heaviest))


def _strata_moments(pairs: PairedDifferences) -> tuple[float, float] | None:
    """Variance of the mean, and its degrees of freedom; None if a stratum has fewer than two pairs."""
    counts = np.bincount(pairs.strata)
    if len(counts) == 0 or counts.min() < 2:
        return None
    means = np.bincount(pairs.strata, pairs.differences) / counts
    squares = np.bincount(pairs.strata, pairs.weights**2 * (pairs.differences - means[pairs.strata]) ** 2)
    parts = squares * counts / (counts - 1)
    variance = float(parts.sum())
    freedom = variance**2 / float(np.sum(parts**2 / (counts - 1))) if variance > 0 else float(np.sum(counts - 1))
    return variance, freedom


def events_bound_above(higher: int, lower: int, total: int, tail: float, value: float) -> bool:
    """Whether the lower bound of `events_interval` at the one-sided level `tail` is above `value`.

    One evaluation of what `_events_bound` searches for a zero.
    """
    if higher == 0:
        return _events_bound(higher, lower, total, tail) > value
    excess, low, high = _events_excess(higher, lower, total, tail)
    return value < low or (value < high and excess(value) < 0)


def _events_bound(higher: int, lower: int, total: int, tail: float) -> float:
    """The `tail` quantile of rate × (2 share - 1): rate of changed samples, share of them that went up.

    `higher` and `lower` are the numbers of changes in each direction, of `total` samples. Both parts are taken at the
    side of their confidence distributions that lowers the bound.
    """
    from scipy import special

    if higher == 0:
        return -1.0 if lower == total else -float(special.betaincinv(lower + 1, total - lower, 1 - tail))
    return _root(*_events_excess(higher, lower, total, tail))


def _events_excess(higher: int, lower: int, total: int, tail: float) -> tuple[Callable[[float], float], float, float]:
    """A rising function of the bound that is zero at `_events_bound`, and the ends of the bound's range."""
    from scipy import special

    changed, unchanged = higher + lower, total - higher - lower
    # Probability that fewer than half of the changes are up: the one-sided sign test.
    minority = float(special.betainc(higher, lower + 1, 0.5))
    nodes, weights = unit_quadrature()
    if minority >= tail:
        slope = np.minimum(2 * special.betaincinv(higher, lower + 1, nodes * minority) - 1, -_TINY)

        def falls(bound: float) -> float:
            rates = np.minimum(1.0, bound / slope)
            beyond = (
                np.where(rates < 1, 1.0, 0.0) if unchanged == 0 else special.betaincc(changed + 1, unchanged, rates)
            )
            return minority * float(weights @ beyond) - tail

        return falls, -1.0, 0.0
    slope = np.maximum(2 * special.betaincinv(higher, lower + 1, minority + nodes * (1 - minority)) - 1, _TINY)

    def rises(bound: float) -> float:
        within = special.betainc(changed, unchanged + 1, np.minimum(1.0, bound / slope))
        return minority + (1 - minority) * float(weights @ within) - tail

    return rises, 0.0, 1.0


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a rising function on [low, high], or the end that is nearest to it."""
    from scipy import optimize

    if function(low) >= 0:
        return low
    if function(high) <= 0:
        return high
    return float(optimize.brentq(function, low, high, xtol=1e-12))


@cache
def unit_quadrature() -> tuple[Array, Array]:
    """Nodes and weights on [0, 1], dense at both ends, where the probabilities of small tails arise.

    Gauss-Legendre nodes x moved to xᵏ / (xᵏ + (1 - x)ᵏ).
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    low, high = ((1 + nodes) / 2) ** _END_POWER, ((1 - nodes) / 2) ** _END_POWER
    slopes = _END_POWER * (low * high) ** (1 - 1 / _END_POWER) / (low + high) ** 2
    return low / (low + high), weights / 2 * slopes


def detectable_sigmas(confidence: float, freedom: float = math.inf) -> float:
    """The number of standard errors at which a difference is detected with a power of 80 %.

    `freedom` are the degrees of freedom of the error. If they are few, t has a noncentral Student distribution, and the
    number is far above the normal one (16.3 instead of 2.8 for two pairs). Owen, The power of Student's
    t-test (1965).
    """
    from scipy import special, stats

    if math.isinf(freedom):
        return float(stats.norm.ppf((1 + confidence) / 2) + stats.norm.ppf(POWER))
    told_from = float(stats.t.ppf((1 + confidence) / 2, freedom))
    return float(special.nctdtrinc(freedom, 1 - POWER, told_from))


@cache
def fewest_changes(confidence: float) -> int:
    """The fewest changes, all in one direction, that the sign test finds significant."""
    needed = 1
    while 2.0 ** (1 - needed) >= 1 - confidence:
        needed += 1
    return needed


@cache
def fewest_events(confidence: float) -> float:
    """The expected number of changes, all in one direction, that the sign test detects with a power of 80 %."""
    from scipy import special

    return float(special.gammaincinv(fewest_changes(confidence), POWER))


def _all_signs(count: int) -> Array:
    patterns = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)
    return patterns * 2 - 1


def _chunks(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]
