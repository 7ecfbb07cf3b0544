"""The verdict of one check of a gate on one target."""

from dataclasses import dataclass
from typing import Literal

from evalkit.analysis.gate_targets import Target
from evalkit.analysis.policy import Check, Kind, Tier
from evalkit.statistics.intervals import Interval

Outcome = Literal["pass", "fail", "undecided"]
# Values and limits are decimal fractions of binary numbers.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found of one target."""

    rule: str
    """The selector as the policy states it."""
    target: str
    kind: Kind
    limit: float
    outcome: Outcome
    passes: bool
    """An undecided check passes or fails as the policy says."""
    reason: str
    base: float | None = None
    new: float | None = None
    drop: float | None = None
    """BASE - NEW (for losses NEW - BASE), in the row's unit; for `max_increase` the relative increase."""
    interval: Interval | None = None
    """Interval of the drop at `confidence`."""
    confidence: float | None = None
    n: int = 0
    more_samples: int | None = None
    """How many more pairs would decide an undecided check if the drop stays what it is."""
    unit: str = "points"
    tier: Tier = "critical"
    complete: bool = True
    """False if results that the check needs are missing, errored or unscored in NEW."""
    level: float | None = None
    """One-sided error level at which a failure of `max_drop` was decided, after correction for the other tests."""
    bound: float | None = None
    """Lower bound of the drop at `level`."""
    fails_gate: bool = False
    """Whether this check alone, or with other supporting ones, fails the gate."""


def incomplete(check: Check, target: Target, reason: str) -> Verdict:
    """The verdict on results that are not complete: a failure, whatever the values that are there."""
    return Verdict(
        rule=check.selector.text,
        target=target.label,
        kind=check.kind,
        limit=check.limit,
        outcome="fail",
        passes=False,
        reason=reason,
        tier=check.tier,
        complete=False,
    )
