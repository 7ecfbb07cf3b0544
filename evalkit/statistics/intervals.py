"""Intervals for scores: computed here, printed elsewhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Interval = tuple[float, float]

RESAMPLES = 2000
CONFIDENCE = 0.95


def bootstrap_mean_ci(
    values: Sequence[float], *, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> Interval | None:
    """Percentile bootstrap interval of a mean, in the unit of `values`.

    Returns None for fewer than two values: one observation says nothing about its spread.
    """
    return bootstrap_mean_of_means_ci([values], seed=seed, resamples=resamples, confidence=confidence)


def bootstrap_mean_of_means_ci(
    groups: Sequence[Sequence[float]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Percentile bootstrap interval of the plain mean of several groups' means.

    Each group is resampled within itself, because a benchmark's tasks are fixed and only their samples are drawn.
    Returns None where there is no group or a group has fewer than two values.
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if not groups or any(len(group) < 2 for group in groups):
        return None
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    if all(np.ptp(array) == 0 for array in arrays):
        # Resampling equal values can only give them back; scipy warns about this case instead.
        mean = float(np.mean([array[0] for array in arrays]))
        return mean, mean
    from scipy import stats  # half a second of import that `evalkit --help` must not pay

    result = stats.bootstrap(
        arrays,
        _mean_of_means,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    interval = result.confidence_interval
    return float(interval.low), float(interval.high)


def _mean_of_means(*groups: np.ndarray[Any, np.dtype[np.float64]], axis: int) -> Any:
    return np.mean([np.mean(group, axis=axis) for group in groups], axis=0)


def proportion_ci(successes: int, n: int, *, confidence: float = CONFIDENCE) -> Interval | None:
    """Wilson's score interval of a proportion, in [0, 1]; None for n = 0.

    Unlike a bootstrap it is not empty where all of a few answers are right or all are wrong.
    Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    if n == 0:
        return None
    from scipy import stats

    interval = stats.binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_ratio_ci(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Percentile bootstrap interval of a ratio of sums, such as nats per token over windows of text.

    Pairs are resampled together. Returns None for fewer than two pairs and where a resample has a denominator of 0.
    """
    if len(numerators) < 2:
        return None
    rng = np.random.default_rng(seed)
    # Counts of each pair instead of indices: one matrix product serves both sums.
    counts = rng.multinomial(len(numerators), np.full(len(numerators), 1 / len(numerators)), size=resamples)
    totals = counts @ np.asarray(denominators, dtype=np.float64)
    if not np.all(totals > 0):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(counts @ np.asarray(numerators, dtype=np.float64) / totals, [tail, 1 - tail])
    return float(low), float(high)
