"""The verdict of one check of a gate on one target."""

from dataclasses import dataclass

from evalkit.analysis.gate_targets import Target
from evalkit.analysis.policy import Check, Kind, Tier
from evalkit.records import Outcome, Verdict

# Decimal fractions are not exact in binary.
ROUNDING = 1e-9
_MOST_DIGITS = 12


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


def beside(value: float, limit: float) -> str:
    """`value` with three digits, or as many as show on which side of `limit` it is: 5.004 and not 5 beside 5."""
    value = round(value, 9) + 0.0  # no minus before zero
    texts = (f"{value:.{digits}g}" for digits in range(3, _MOST_DIGITS))
    return next((text for text in texts if _same_side(float(text), value, limit)), f"{value:g}")


def percent_beside(value: float, limit: float) -> str:
    """`value` in percent with one decimal, or as many as show on which side of `limit` it is."""
    texts = (f"{100 * value:+.{decimals}f}" for decimals in range(1, _MOST_DIGITS))
    found = next((text for text in texts if _same_side(float(text), 100 * value, 100 * limit)), f"{100 * value:+g}")
    return f"{found}%"


def _same_side(shown: float, value: float, limit: float) -> bool:
    if abs(value - limit) <= ROUNDING:
        return abs(shown - limit) <= ROUNDING
    return shown != limit and (shown > limit) == (value > limit)
