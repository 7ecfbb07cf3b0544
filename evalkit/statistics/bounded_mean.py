"""Confidence bounds of a mean of bounded values, without assumptions about their distribution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_LEAST_DIFFERENCE = -1.0
"""Differences of scores in [0, 1] end here."""
_NODES = 200
_REACH = 5.0
_SAME_DIGITS = 12
_ROUNDING = 1e-12
_TINY = 1e-300
_MOST_VALUES = 1_000
"""Distinct values beyond which values are rounded down to this many steps, which lowers a bound by 0.001 at most."""


@dataclass(frozen=True, slots=True, eq=False)
class LowerBound:
    """Lower confidence bounds of a weighted mean, at any one-sided level up to 1/4.

    One unseen value, at the end of the scale and with the largest weight, is added to the values. A bound is a quantile
    of the mean under weights drawn as spacings, so that a rare value that was missed is allowed for. For right and
    wrong answers of equal weight the bound is Clopper and Pearson's. Its coverage is not proven in general; no
    exception is known. Gaffke, Three test statistics for a nonparametric one-sided hypothesis on the mean of a
    nonnegative variable (2005); Learned-Miller and Thomas, A new confidence interval for the mean of a bounded random
    variable (2019).
    """

    values: Array
    """Distinct values, the unseen one last."""
    weights: Array
    """Weights, relative to the largest."""
    counts: Array
    offset: float = 0.0
    """Added to the mean of `values`."""

    @staticmethod
    def of(values: Array, weights: Array, *, least: float, offset: float = 0.0) -> "LowerBound":
        """The bounds for `values` of at least `least`; all weights must be positive."""
        if len(values) > _MOST_VALUES:
            step = (values.max() - least) / _MOST_VALUES or 1.0
            values = least + step * np.floor((values - least) / step + _ROUNDING)
        # Equal values of equal weight add up to one gamma variable.
        pairs = np.round(np.column_stack([values, weights / weights.max()]), _SAME_DIGITS)
        distinct, counts = np.unique(pairs, axis=0, return_counts=True)
        return LowerBound(
            values=np.append(distinct[:, 0], least),
            weights=np.append(distinct[:, 1], 1.0),
            counts=np.append(counts, 1).astype(np.float64),
            offset=offset,
        )

    @staticmethod
    def of_strata(strata: Sequence[Array], shares: Sequence[float]) -> "LowerBound":
        """The bounds of Σ share × mean over strata of scores in [0, 1]; shares add up to 1, no stratum is empty.

        Samples are drawn within fixed strata, so spread between strata is no uncertainty. The values of a stratum of n
        values are moved by (n - 1) / (n + 1) of the distance between its mean and the overall mean: the mean of few
        values is a poor centre, and a single value is none. The spread within a stratum that the estimated centre
        hides is restored, so that strata with equal means have the interval of the pooled values.
        """
        means = np.array([stratum.mean() for stratum in strata])
        counts = np.array([len(stratum) for stratum in strata], dtype=np.float64)
        overall = float(np.dot(shares, means))
        centres = overall + (counts - 1) / (counts + 1) * (means - overall)
        stretch = np.sqrt(1 + (1 - 1 / len(strata)) * (counts + 3) / (counts + 1) ** 2)
        if len(strata) == 1:
            centres, stretch = np.zeros(1), np.ones(1)
        moved = np.concatenate(
            [
                (stratum - mean) * factor + mean - centre
                for stratum, mean, factor, centre in zip(strata, means, stretch, centres, strict=True)
            ]
        )
        weights = np.concatenate(
            [np.full(len(stratum), share / len(stratum)) for stratum, share in zip(strata, shares, strict=True)]
        )
        least = min(float(-centres.max()), float(moved.min()))
        return LowerBound.of(moved, weights, least=least, offset=float(np.dot(shares, centres)))

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and variance of the distribution whose quantiles are the bounds; exact if all weights are equal."""
        heaviness = self.counts * self.weights
        total = float(heaviness.sum())
        mean = float(heaviness @ self.values) / total
        squares = float((heaviness * self.weights) @ (self.values - mean) ** 2)
        return mean + self.offset, squares / (total**2 + float(heaviness @ self.weights))

    def bound(self, tail: float) -> float:
        """The lower bound at the one-sided level `tail`, at most 1/4."""
        from scipy import optimize

        least = float(self.values.min())
        total = float(self.counts @ self.weights)
        centre = self.moments[0] - self.offset
        if centre <= least + _ROUNDING:
            return least + self.offset

        def beyond(mean: float) -> float:
            # A logarithm is nearly straight here, which saves half of the steps.
            return math.log(max(_below_zero(self.weights * (self.values - mean), self.counts), _TINY) / tail)

        spread = np.sqrt(np.sum(self.counts * (self.weights * (self.values - centre)) ** 2))
        reach = 4 * float(spread) / total
        while (low := max(least, centre - reach)) > least and beyond(low) > 0:
            reach *= 2
        return float(optimize.brentq(beyond, low, centre, xtol=1e-11)) + self.offset


def gaffke_bound(values: Array, weights: Array, tail: float) -> float:
    """Lower bound, at the one-sided level `tail`, of a weighted mean of differences in [-1, 1]."""
    return LowerBound.of(values, weights, least=_LEAST_DIFFERENCE).bound(tail)


def _below_zero(scales: Array, times: Array) -> float:
    """P(Σ scaleⱼ Gⱼ ≤ 0) for independent gamma variables Gⱼ of shape timesⱼ whose sum is on average not below zero.

    The inversion integral of the moment generating function, along the line through its saddle point, where the
    integrand neither oscillates nor cancels.
    """
    from scipy import optimize

    used = np.abs(scales) > _ROUNDING**2
    scales, times = scales[used], times[used]
    if len(scales) == 0 or scales.min() >= 0:
        return 0.0
    edge = 1 / float(scales.min())

    def slope(at: float) -> float:
        return float(np.sum(times * scales / (1 - at * scales)))

    saddle = 0.0 if slope(0.0) <= 0 else float(optimize.brentq(slope, edge * (1 - _ROUNDING), 0.0))
    # A saddle near zero is near the pole there; half a standard deviation away the integrand is as smooth.
    at = min(saddle, -0.5 * float(np.sum(times * scales**2)) ** -0.5)
    width = float(np.sum(times * (scales / (1 - at * scales)) ** 2)) ** -0.5
    steps, weights = _half_line()
    line = at + 1j * width * steps
    logs = -np.log(1 - line[:, None] * scales) @ times
    return float(np.real(np.sum(weights * np.exp(logs) / -line)) * width / np.pi)


@cache
def _half_line() -> tuple[Array, Array]:
    """Nodes and weights of an integral from 0 to infinity whose integrand falls off within a few units."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = (nodes + 1) / 2, weights / 2
    return _REACH * nodes / (1 - nodes), _REACH * weights / (1 - nodes) ** 2
