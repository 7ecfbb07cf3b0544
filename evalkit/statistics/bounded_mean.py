"""A bound of a mean that supposes nothing of how the values are spread, but where their scale ends."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_LEAST = -1.0
"""Differences of scores in [0, 1] end here."""
_NODES = 200
_REACH = 5.0
_SAME_DIGITS = 12
_ROUNDING = 1e-12
_TINY = 1e-300


def gaffke_bound(values: Array, weights: Array, tail: float) -> float:
    """Lower bound, at the one-sided level `tail` (at most 1/4), of a weighted mean of values in [-1, 1].

    The values are joined by one that was not seen, at the very end of the scale and as heavy as the heaviest; the
    bound is the `tail` quantile of the mean with weights drawn as spacings. So what is rare enough to have been missed
    is allowed for. For right and wrong answers it is Clopper and Pearson's. Its coverage is not proven in general; no
    exception is known. Gaffke, Three test statistics for a nonparametric one-sided hypothesis on the mean of a
    nonnegative variable (2005); Learned-Miller and Thomas, A new confidence interval for the mean of a bounded random
    variable (2019).
    """
    from scipy import optimize

    # Equal values of equal weight add up to one gamma variable.
    pairs = np.round(np.column_stack([values, weights / weights.max()]), _SAME_DIGITS)
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    seen, heavy = np.append(distinct[:, 0], _LEAST), np.append(distinct[:, 1], 1.0)
    times = np.append(counts, 1).astype(np.float64)
    centre = float(np.sum(times * heavy * seen) / np.sum(times * heavy))
    if centre <= _LEAST + _ROUNDING:
        return _LEAST

    def beyond(mean: float) -> float:
        # A logarithm is nearly straight here, which saves half of the steps.
        return math.log(max(_below_zero(heavy * (seen - mean), times), _TINY) / tail)

    reach = 4 * float(np.sqrt(np.sum(times * (heavy * (seen - centre)) ** 2)) / np.sum(times * heavy))
    while (low := max(_LEAST, centre - reach)) > _LEAST and beyond(low) > 0:
        reach *= 2
    return float(optimize.brentq(beyond, low, centre, xtol=1e-11))


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
