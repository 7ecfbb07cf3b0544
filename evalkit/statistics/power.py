"""Power of one-sided tests of a drop: how often an interval lies above, or at or below, a limit.

Planning needs an assumption about how many samples two runs answer differently (the discordance); it is a `Spread`.
For right and wrong answers that change rarely, the probabilities are exact under that assumption, otherwise they are
normal or noncentral t approximations. benchmarks/gate_policies.py compares them with simulated runs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from evalkit.statistics.paired import POWER, PairedDifferences, events_bound_above, right_or_wrong

_NORMAL = NormalDist()
# Up to this many expected changes the distribution is summed exactly; above, the normal approximation is close.
_EXACT_CHANGES = 100
# Probability of the tails that are left out of the sum over the number of changes.
_LEFT_OUT = 1e-6
_ROUNDING = 1e-9
# The spread or the weight of an unseen sample is ignored if it is this small compared with the other.
_LEAST_SHARE = 1e-3
_MOST_PAIRS = 10**9
# Standard errors beyond which any t-test with two pairs or more has decided.
_FAR = 1e5


Kind = Literal["answers", "fractions", "losses"]
"""Right and wrong answers of equal weight; other scores in [0, 1]; real-valued losses."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much the paired differences of one test vary if there is no true difference."""

    kind: Kind
    pairs: int
    square: float
    """Variance of the mean times `pairs`; for right and wrong answers the share that changes."""
    size: float = 1.0
    """Typical size of a change; 1 for right and wrong answers."""
    heaviest: float = 1.0
    """Largest weight of a pair times `pairs`; 1 if all weights are equal."""
    strata: int = 1

    @staticmethod
    def of(pairs: PairedDifferences) -> "Spread":
        """The spread that was observed; the mean difference counts as spread, as if there were no true one.

        For scores one whole change is added that was not seen: five pairs without a change do not rule it out.
        """
        count, weights = len(pairs.differences), pairs.weights
        strata = len(np.unique(pairs.strata))
        if not pairs.bounded:
            square = count * float(np.sum((weights * (pairs.differences - pairs.mean)) ** 2))
            return Spread("losses", count, square * count / max(1, count - strata), strata=strata)
        heaviest = float(weights.max())
        square = count * (float(np.sum((weights * pairs.differences) ** 2)) + heaviest**2)
        sizes = np.abs(pairs.differences)
        typical = float(np.sum(sizes**2) / np.sum(sizes)) if sizes.any() else 1.0
        kind: Kind = "answers" if right_or_wrong(pairs) else "fractions"
        return Spread(kind, count, min(1.0, square), typical, count * heaviest, strata)

    def scaled(self, pairs: int) -> "Spread":
        """The same spread with another number of pairs."""
        return replace(self, pairs=pairs)

    def error(self, drop: float = 0.0) -> float:
        """Standard error of the mean difference if the true drop is `drop`."""
        if self.kind == "losses":
            return math.sqrt(self.square / self.pairs)
        return math.sqrt(self.square_at(drop) - drop**2) / math.sqrt(self.pairs)

    def square_at(self, drop: float) -> float:
        """Mean square of the differences for a true drop of `drop`; of right and wrong answers the share that changes.

        A drop comes half from more samples that get worse and half from fewer that get better.
        """
        size = abs(drop) * self.size
        return max(min(1.0, self.square + size / 2), size, drop**2)


def above(spread: Spread, drop: float, limit: float, tail: float) -> float:
    """Probability that the lower bound of a drop, at the one-sided level `tail`, is above `limit`.

    `drop` is the true drop; it and `limit` are in the unit of the scores and may be negative.
    """
    if spread.pairs < 1:
        return 0.0
    match spread.kind:
        case "losses":
            return _above_loss(spread, drop, limit, tail)
        case "answers" if spread.square_at(drop) * spread.pairs <= _EXACT_CHANGES:
            return _above_exactly(spread, drop, limit, tail)
        case "answers":
            step = 1 / spread.pairs
            return _normal_above(drop - limit - step, spread.error(drop), _quantile(tail) * spread.error(limit))
        case "fractions":
            return _normal_above(drop - limit, spread.error(drop), _half_width(spread, drop, tail))


def at_most(spread: Spread, drop: float, limit: float, tail: float) -> float:
    """Probability that the upper bound of a drop, at the one-sided level `tail`, is at or below `limit`."""
    return above(spread, -drop, -limit - 2 * _ROUNDING, tail)


def detectable_drop(probability: Callable[[float], float], largest: float) -> float | None:
    """The smallest true drop at which the rising `probability` of failing reaches 80 %; None if `largest` does not."""
    if probability(largest) < POWER:
        return None
    low, high = 0.0, largest
    if probability(low) >= POWER:
        return 0.0
    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if probability(middle) >= POWER else (middle, high)
    return high


def pairs_needed(spread: Spread, limit: float, tail: float) -> int | None:
    """Pairs after which a candidate without a drop shows with a probability of 80 % that it is at most `limit`.

    None if no number of pairs suffices, as for a limit of 0. The answer is within a twentieth of the fewest.
    """
    if limit <= 0:
        return None
    # A lower bound: the normal approximation ignores the loss to discreteness.
    least = (_quantile(tail) + _quantile(1 - POWER)) ** 2 * spread.square / limit**2
    pairs = max(spread.strata + 1, int(0.9 * least))
    while at_most(spread.scaled(pairs), 0.0, limit, tail) < POWER:
        pairs += max(1, pairs // 20)
        if pairs > _MOST_PAIRS:
            return None
    return pairs


def _quantile(tail: float) -> float:
    return _NORMAL.inv_cdf(1 - tail)


def _half_width(spread: Spread, drop: float, tail: float) -> float:
    """Distance from a mean drop of fractions to its lower bound, if the true drop is `drop`.

    The bound is a quantile of the mean under random weights: about normal, less the weight of one unseen sample at the
    end of the scale, which is exponentially distributed.
    """
    from scipy import stats

    unseen, error = (1 + drop) * spread.heaviest / spread.pairs, spread.error(drop)
    if error <= _LEAST_SHARE * unseen:
        return -math.log(tail) * unseen
    if unseen <= _LEAST_SHARE * error:
        return _quantile(tail) * error
    return float(stats.exponnorm.isf(tail, unseen / error, scale=error))


def _normal_above(distance: float, error: float, half: float) -> float:
    """Probability that a normal estimate `distance` above a limit exceeds it by `half`."""
    if error <= 0:
        return float(distance > half)
    return _NORMAL.cdf((distance - half) / error)


def _above_loss(spread: Spread, drop: float, limit: float, tail: float) -> float:
    from scipy import stats

    freedom = spread.pairs - spread.strata
    if freedom < 1:
        return 0.0
    error = spread.error()
    if error == 0:
        return float(drop > limit)
    distance = float(np.clip((drop - limit) / error, -_FAR, _FAR))
    return float(stats.nct.sf(stats.t.isf(tail, freedom), freedom, distance))


def _above_exactly(spread: Spread, drop: float, limit: float, tail: float) -> float:
    """Sum over how many answers change and how many of those get worse."""
    from scipy import stats

    changed = spread.square_at(drop)
    if changed <= 0:
        return float(_fails(spread.pairs, 0, 0, tail, limit))
    first, last = (int(count) for count in stats.binom.ppf([_LEFT_OUT, 1 - _LEFT_OUT], spread.pairs, changed))
    counts = np.arange(first, last + 1)
    least = np.array(_least_worse(spread.pairs, first, last, limit, tail))
    worse = stats.binom.sf(least - 1, counts, (1 + drop / changed) / 2)
    return float(np.sum(stats.binom.pmf(counts, spread.pairs, changed) * worse))


@cache
def _least_worse(pairs: int, first: int, last: int, limit: float, tail: float) -> tuple[int, ...]:
    """For `first` … `last` changes, the fewest that must be for the worse to move the lower bound above `limit`."""
    found = []
    worse = 0
    for changes in range(first, last + 1):
        # One more change raises the number by one at most.
        while worse <= changes and not _fails(pairs, worse, changes - worse, tail, limit):
            worse += 1
        found.append(worse)
    return tuple(found)


@cache
def _fails(pairs: int, worse: int, better: int, tail: float, limit: float) -> bool:
    """Whether the lower bound of the drop is above `limit`."""
    return events_bound_above(worse, better, pairs, tail, limit + _ROUNDING)
