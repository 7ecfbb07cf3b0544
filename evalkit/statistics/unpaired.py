"""Statistics of two models on different samples: weaker than pairs, because the questions differ too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.statistics.intervals import CONFIDENCE, Interval
from evalkit.statistics.paired import Array, detectable_sigmas, fewest_events, unit_quadrature


@dataclass(frozen=True, slots=True)
class MeanScore:
    """The plain mean over tasks of scores in [0, 1], as a binomial that carries the same information.

    Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts (1998).
    """

    mean: float
    variance: float
    """Of the mean, from the spread within the tasks."""
    effective: float
    """Samples that a binomial of this mean and variance would have."""

    @staticmethod
    def of(groups: Sequence[Array]) -> "MeanScore":
        """Of one array of scores for each task; every task needs at least one."""
        tasks = len(groups)
        mean = float(np.mean([group.mean() for group in groups]))
        asked = 1 / sum(1 / len(group) for group in groups) * tasks**2
        if any(len(group) < 2 for group in groups):
            return MeanScore(mean, mean * (1 - mean) / asked, asked)
        variance = float(sum(group.var(ddof=1) / len(group) for group in groups)) / tasks**2
        if variance == 0 or not 0 < mean < 1:
            return MeanScore(mean, variance, asked)
        return MeanScore(mean, variance, max(asked, mean * (1 - mean) / variance))

    @property
    def lower(self) -> tuple[float, float]:
        """Beta parameters of the lower confidence distribution (Clopper and Pearson)."""
        return self.mean * self.effective, (1 - self.mean) * self.effective + 1

    @property
    def upper(self) -> tuple[float, float]:
        return self.mean * self.effective + 1, (1 - self.mean) * self.effective


@dataclass(frozen=True, slots=True)
class MeanLoss:
    """A weighted mean of real-valued scores, such as bits per byte over windows of text."""

    mean: float
    variance: float
    freedom: float

    @staticmethod
    def of(values: Array, weights: Array) -> "MeanLoss | None":
        """None for fewer than two values; `weights` add up to 1."""
        if len(values) < 2:
            return None
        mean = float(weights @ values)
        variance = float(np.sum((weights * (values - mean)) ** 2)) * len(values) / (len(values) - 1)
        return MeanLoss(mean, variance, len(values) - 1)


def welch(base: MeanLoss, new: MeanLoss, confidence: float = CONFIDENCE) -> tuple[Interval, float, float]:
    """Interval of new - base, its two-sided p, and the smallest difference seen with a power of 80 % (Welch, 1947)."""
    from scipy import stats

    difference, variance = new.mean - base.mean, base.variance + new.variance
    if variance == 0:
        return (difference, difference), float(difference == 0), 0.0
    freedom = variance**2 / (base.variance**2 / base.freedom + new.variance**2 / new.freedom)
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return (difference - half, difference + half), p, detectable_sigmas(confidence, freedom) * error


def difference_interval(base: MeanScore, new: MeanScore, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided interval of new - base, melded from both sides' exact ones.

    For one right-or-wrong task it leaves out zero where Fisher's exact test (twice its smaller side) is below
    1 - confidence. Fay, Proschan and Brittain (2015).
    """
    tail = (1 - confidence) / 2
    return _lower_quantile(new, base, tail), -_lower_quantile(base, new, tail)


def difference_p(base: MeanScore, new: MeanScore) -> float:
    """Two-sided p of no difference: twice the smaller side, at most 1."""
    return min(1.0, 2 * min(_below(new, base, 0.0), _below(base, new, 0.0)))


def detectable_unpaired(base: MeanScore, new: MeanScore, confidence: float = CONFIDENCE) -> float:
    """The smallest true difference that would be told from zero with a power of 80 %, at the spread seen."""
    variance = sum(side.mean * (1 - side.mean) / side.effective for side in (base, new))
    # Means of 0 and 1 show no spread, but no test tells less than some number of answers from none.
    return min(
        1.0,
        max(
            detectable_sigmas(confidence) * math.sqrt(variance),
            fewest_events(confidence) / min(base.effective, new.effective),
        ),
    )


def _lower_quantile(plus: MeanScore, minus: MeanScore, tail: float) -> float:
    from scipy import optimize

    if _below(plus, minus, -1.0) >= tail:
        return -1.0
    return float(optimize.brentq(lambda bound: _below(plus, minus, bound) - tail, -1.0, 1.0, xtol=1e-12))


def _below(plus: MeanScore, minus: MeanScore, bound: float) -> float:
    """Probability that plus's lower distribution minus `minus`'s upper one is at most `bound`."""
    from scipy import special

    if plus.lower[0] <= 0:
        certain = minus.upper[1] <= 0
        return 1.0 if certain or bound >= 0 else 1 - float(special.betainc(*minus.upper, min(1.0, -bound)))
    if minus.upper[1] <= 0:
        return float(special.betainc(*plus.lower, min(1.0, max(0.0, bound + 1))))
    nodes, weights = unit_quadrature()
    at = np.clip(bound + special.betaincinv(*minus.upper, nodes), 0.0, 1.0)
    return float(weights @ special.betainc(*plus.lower, at))
