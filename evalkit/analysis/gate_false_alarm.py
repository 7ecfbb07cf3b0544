"""The probability that a policy fails a candidate that is as good as the baseline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalkit.analysis.policy import Check
from evalkit.statistics.family import first_level
from evalkit.statistics.power import Spread, at_most


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """Probability that a gate fails if no score truly differs; advisory rules do not count."""

    probability: float
    """Upper bound: the sum of `by_chance` and `not_shown`, at most 1."""
    by_chance: float
    """Bound for the `max_drop` tests that fail only on evidence of a drop."""
    tests: int
    """Number of those tests."""
    not_shown: float
    """Estimate for the tests that fail unless the samples show that the drop is at most the limit."""
    must_be_shown: int
    """Number of those tests."""
    not_counted: int
    """Number of floors, times and memory, which are compared as measured, with unknown false alarms."""


def false_alarm(checks: Sequence[Check], error_rate: float, not_shown: Iterable[float]) -> FalseAlarm:
    """The false-alarm probability of `checks`, one for each target; those that cannot fail the gate are left out.

    `not_shown` are the probabilities of failing of the checks that must show something.
    """
    gating = [check for check in checks if check.tier != "advisory"]
    sharing = sum(check.kind == "max_drop" for check in gating)
    evidence = [check for check in gating if check.kind == "max_drop" and not check.must_be_shown]
    by_chance = sum(first_level(check.level, error_rate, sharing) for check in evidence)
    failing = min(1.0, sum(not_shown))
    return FalseAlarm(
        probability=min(1.0, by_chance + failing),
        by_chance=by_chance,
        tests=len(evidence),
        not_shown=failing,
        must_be_shown=sum(check.must_be_shown for check in gating),
        not_counted=sum(check.kind in ("min", "max_increase") for check in gating),
    )


def chance_not_shown(spread: Spread, limit: float, check: Check) -> float:
    """Probability that the samples do not show that a drop of zero is at most `limit`, in the unit of the scores."""
    return 1 - at_most(spread, 0.0, limit, check.level)
