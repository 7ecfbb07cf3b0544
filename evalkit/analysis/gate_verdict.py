"""The verdict of one check of a gate on one target."""

from dataclasses import dataclass

from evalkit.analysis.gate_targets import Target
from evalkit.analysis.policy import Check, Kind, Tier
from evalkit.records import Outcome, Verdict

# Decimal fractions are not exact in binary.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict(Verdict):
    """The verdict of one check on one target, and its effect on the gate."""

    rule: str
    """The selector as the policy states it."""
    kind: Kind
    limit: float
    outcome: Outcome
    passes: bool
    """An undecided check passes or fails as the policy says."""
    base: float | None = None
    new: float | None = None
    drop: float | None = None
    """BASE - NEW (for losses NEW - BASE), in the row's unit; for `max_increase` the relative increase."""
    confidence: float | None = None
    """Confidence of the interval of the drop."""
    n: int = 0
    more_samples: int | None = None
    """Number of additional pairs that would decide an undecided check if the drop does not change."""
    tier: Tier = "critical"
    complete: bool = True
    """False if results that the check needs are missing, errored or unscored in NEW."""
    level: float | None = None
    """One-sided error level at which a failure of `max_drop` was decided, after correction for the other tests."""
    bound: float | None = None
    """Lower bound of the drop at `level`."""
    fails_gate: bool = False
    """Whether this check alone, or with other supporting ones, fails the gate."""


def incomplete(check: Check, target: Target, reason: str) -> GateVerdict:
    """The verdict on incomplete results: a failure, whatever their values."""
    return GateVerdict(
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
