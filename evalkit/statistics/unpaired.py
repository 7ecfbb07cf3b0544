"""Differences between two models that answered different samples, which are less sensitive than paired ones."""

import math

import numpy as np

from evalkit.statistics.bounded_mean import LowerBound
from evalkit.statistics.intervals import CONFIDENCE, Interval
from evalkit.statistics.paired import detectable_sigmas, fewest_events, unit_quadrature
from evalkit.statistics.scores import MeanLoss, MeanScore

Beta = tuple[float, float]
"""Parameters of a beta distribution; the first is 0 for a point mass at 0, the second for one at 1."""

_TINY = 1e-12


def welch(base: MeanLoss, new: MeanLoss, confidence: float = CONFIDENCE) -> tuple[Interval, float, float] | None:
    """Interval of new - base, its two-sided p, and the difference detected with 80 % power (Welch, 1947).

    None if the values of one side show no spread.
    """
    from scipy import stats

    if base.variance is None or new.variance is None:
        return None
    difference, variance = new.mean - base.mean, base.variance + new.variance
    freedom = variance**2 / (base.variance**2 / (base.n - 1) + new.variance**2 / (new.n - 1))
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return (difference - half, difference + half), p, detectable_sigmas(confidence, freedom) * error


def difference_interval(base: MeanScore, new: MeanScore, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided interval of new - base, melded from the bounds of both sides.

    For one right-or-wrong task it excludes zero if the p of Fisher's exact test (twice its smaller side) is below
    1 - confidence. Fay, Proschan and Brittain (2015).
    """
    tail = (1 - confidence) / 2
    return _lower_quantile(new, base, tail), -_lower_quantile(base, new, tail)


def difference_p(base: MeanScore, new: MeanScore) -> float:
    """Two-sided p of no difference: twice the smaller side, at most 1."""
    sides = (_below(_beta(new.lower), _upper_beta(base), 0.0), _below(_beta(base.lower), _upper_beta(new), 0.0))
    return min(1.0, 2 * min(sides))


def detectable_unpaired(base: MeanScore, new: MeanScore, confidence: float = CONFIDENCE) -> float:
    """The smallest true difference that would be detected with 80 % power, at the spread seen."""
    variance, heaviest = base.variance + new.variance, max(base.heaviest, new.heaviest)
    # Means of 0 and 1 show no spread, but no test detects a difference before some number of answers has changed.
    return min(1.0, max(detectable_sigmas(confidence) * math.sqrt(variance), fewest_events(confidence) * heaviest))


def _lower_quantile(plus: MeanScore, minus: MeanScore, tail: float) -> float:
    from scipy import optimize

    low, high = _beta(plus.lower), _upper_beta(minus)
    if _below(low, high, -1.0) >= tail:
        return -1.0
    return float(optimize.brentq(lambda bound: _below(low, high, bound) - tail, -1.0, 1.0, xtol=1e-12))


def _below(lower: Beta, upper: Beta, bound: float) -> float:
    """Probability that a draw from `lower` minus one from `upper` is at most `bound`."""
    from scipy import special

    if lower[0] <= 0:
        certain = upper[1] <= 0
        return 1.0 if certain or bound >= 0 else 1 - float(special.betainc(*upper, min(1.0, -bound)))
    if upper[1] <= 0:
        return float(special.betainc(*lower, min(1.0, max(0.0, bound + 1))))
    nodes, weights = unit_quadrature()
    at = np.clip(bound + special.betaincinv(*upper, nodes), 0.0, 1.0)
    return float(weights @ special.betainc(*lower, at))


def _beta(bound: LowerBound) -> Beta:
    """The beta distribution with the mean and variance of `bound`'s distribution; exact for right and wrong answers."""
    mean, variance = bound.moments
    if mean <= _TINY or variance <= 0:
        return 0.0, 1.0
    mean = min(mean, 1 - _TINY)
    size = max(mean * (1 - mean) / variance - 1, _TINY)
    return mean * size, (1 - mean) * size


def _upper_beta(side: MeanScore) -> Beta:
    wrong, right = _beta(side.upper)
    return right, wrong
