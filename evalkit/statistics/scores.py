"""Mean, interval and detectable difference of a score or a loss."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalkit.statistics.bounded_mean import Array, LowerBound
from evalkit.statistics.intervals import CONFIDENCE, Interval
from evalkit.statistics.paired import detectable_sigmas, fewest_events

_EQUAL = 1e-12
_MOST_DOUBT = 50.0
"""Largest logarithm of the upper end relative to the mean, which two very different windows can reach."""


@dataclass(frozen=True, slots=True, eq=False)
class MeanScore:
    """A weighted sum of the means of scores in [0, 1]: of one row, over tasks, or of one length against another.

    Samples are drawn within each stratum (task) and strata are fixed. Intervals are exact for right and wrong answers
    of one task (Clopper and Pearson 1934); otherwise they assume only that scores lie in [0, 1] (see LowerBound).
    They are never empty because samples agree, and one sample has one too.
    """

    strata: tuple[Array, ...]
    shares: tuple[float, ...]
    """Weight of each stratum's mean; they add up to 1."""
    scale: float = 1.0
    offset: float = 0.0
    """The value is `scale` × the weighted mean + `offset`."""

    @staticmethod
    def of(groups: Iterable[Sequence[float] | Array]) -> "MeanScore":
        """The plain mean over `groups` (tasks), each of which needs at least one score; one group is a single row."""
        strata = tuple(np.asarray(group, dtype=np.float64) for group in groups)
        return MeanScore(strata, (1 / len(strata),) * len(strata))

    def minus(self, share: float, other: "MeanScore") -> "MeanScore":
        """This mean minus `share` (above 0) times another one with independent samples."""
        total = 1 + share
        return MeanScore(
            strata=(*self.strata, *(1 - stratum for stratum in other.strata)),
            shares=(*(each / total for each in self.shares), *(each * share / total for each in other.shares)),
            scale=total,
            offset=-share,
        )

    @property
    def n(self) -> int:
        return sum(len(stratum) for stratum in self.strata)

    @property
    def mean(self) -> float:
        parts = [share * math.fsum(each) / len(each) for share, each in zip(self.shares, self.strata, strict=True)]
        # Exact in any order of summation: 442 of 500 right answers are 0.884.
        return self.scale * round(math.fsum(parts), 12) + self.offset

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Two-sided interval with equal tails."""
        tail = (1 - confidence) / 2
        if len(self.strata) == 1 and np.all((self.strata[0] == 0) | (self.strata[0] == 1)):
            low, high = proportion_interval(int(self.strata[0].sum()), len(self.strata[0]), confidence)
        else:
            low, high = max(0.0, self.lower.bound(tail)), min(1.0, 1 - self._mirrored.lower.bound(tail))
        return self.scale * low + self.offset, self.scale * high + self.offset

    def detectable(self, confidence: float = CONFIDENCE) -> float:
        """The smallest distance of the true mean from a fixed bound that would be detected with 80 % power."""
        sampled = detectable_sigmas(confidence) * math.sqrt(self.variance)
        return self.scale * min(1.0, max(sampled, fewest_events(confidence) * self.heaviest))

    @property
    def variance(self) -> float:
        """Of the weighted mean, before scale and offset; above zero even if all samples agree."""
        return (self.lower.moments[1] + self.upper.moments[1]) / 2

    @property
    def heaviest(self) -> float:
        """Weight of the heaviest sample."""
        return max(share / len(stratum) for share, stratum in zip(self.shares, self.strata, strict=True))

    @property
    def lower(self) -> LowerBound:
        """Lower bounds of the weighted mean, before scale and offset."""
        return LowerBound.of_strata(self.strata, self.shares)

    @property
    def upper(self) -> LowerBound:
        """Lower bounds of 1 - the weighted mean."""
        return self._mirrored.lower

    @property
    def _mirrored(self) -> "MeanScore":
        return replace(self, strata=tuple(1 - stratum for stratum in self.strata))


@dataclass(frozen=True, slots=True, eq=False)
class MeanLoss:
    """A weighted mean of losses (at least 0), such as bits per byte over windows of text weighted by their bytes."""

    values: Array
    weights: Array
    """Weights, which add up to 1."""

    @staticmethod
    def of(values: Sequence[float] | Array, weights: Sequence[float] | Array) -> "MeanLoss":
        """The mean of at least one value; `weights` in any unit."""
        sizes = np.asarray(weights, dtype=np.float64)
        return MeanLoss(np.asarray(values, dtype=np.float64), sizes / sizes.sum())

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return float(self.weights @ self.values)

    @property
    def variance(self) -> float | None:
        """Standard error by linearization (Cochran, Sampling Techniques, 1977, chapter 6); None without spread.

        Equal values say nothing about the spread of losses, which have no upper bound.
        """
        if self.n < 2 or np.ptp(self.values) <= _EQUAL * float(np.abs(self.values).max()):
            return None
        spread = float(np.sum((self.weights * (self.values - self.mean)) ** 2))
        return spread * self.n / (self.n - 1)

    def interval(self, confidence: float = CONFIDENCE) -> Interval | None:
        """Student's interval, its upper end on a logarithmic scale; None for fewer than two values, and if all agree.

        Losses have a long upper tail, so that the upper end of a symmetric interval would be too low for few windows.
        """
        if (variance := self.variance) is None:
            return None
        from scipy import stats

        half = float(stats.t.ppf((1 + confidence) / 2, self.n - 1)) * math.sqrt(variance)
        return max(0.0, self.mean - half), self.mean * math.exp(min(half / self.mean, _MOST_DOUBT))


def proportion_interval(right: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Clopper and Pearson's exact interval of a proportion, in [0, 1]; `n` is at least 1."""
    tail = (1 - confidence) / 2
    # The chance that n answers agree is a power, and SciPy takes longer to import than a single answer.
    if right == 0:
        return 0.0, -math.expm1(math.log(tail) / n)
    if right == n:
        return tail ** (1 / n), 1.0
    from scipy import special

    low, high = special.betaincinv((right, right + 1), (n - right + 1, n - right), (tail, 1 - tail))
    return float(low), float(high)
