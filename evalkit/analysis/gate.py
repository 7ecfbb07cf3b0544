"""A gate: does a new run hold what a policy asks of it, measured against a baseline run?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.analysis.comparison import ComparedRun, record_figures
from evalkit.analysis.costs import CostComparison, compare_memory, compare_times, describe_hardware
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.gate_targets import Target, select
from evalkit.analysis.pairing import PairedRow, Pairing, pair_rows
from evalkit.analysis.policy import Check, Kind, Policy
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records.metrics import metric_of
from evalkit.statistics.intervals import Interval
from evalkit.statistics.rows import weighted_mean

Outcome = Literal["pass", "fail", "undecided"]
# Values and limits are decimal fractions of binary numbers.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found of one target."""

    rule: str
    """The selector, as the policy has it."""
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
    """BASE - NEW (of losses NEW - BASE), in the row's unit; of `max_increase` the relative increase."""
    interval: Interval | None = None
    """Of the drop, at `confidence`."""
    confidence: float | None = None
    n: int = 0
    more_samples: int | None = None
    """How many more pairs would decide an undecided check, if the drop stays what it is."""
    unit: str = "points"


@dataclass(frozen=True, slots=True)
class GateResult:
    """All verdicts of a policy."""

    policy: str
    base: tuple[ComparedRun, ...]
    new: tuple[ComparedRun, ...]
    verdicts: tuple[Verdict, ...]
    passed: bool


def gate(base: Sequence[StoredRun], new: Sequence[StoredRun], policy: Policy) -> GateResult:
    """Check the runs of `new` against those of `base`, suite by suite.

    Raises IncompatibleRunError where two runs that a check must compare asked different things or, for times and
    memory, ran on different hardware; and UsageError where a selector selects nothing or BASE lacks what is compared.
    """
    sides = _Sides({run.record.suite: run for run in base}, {run.record.suite: run for run in new})
    verdicts = tuple(
        _verdict(sides, check, target) for check in policy.checks for target in select(check, sides.base, sides.new)
    )
    return GateResult(
        policy=policy.path,
        base=tuple(ComparedRun.of(run) for run in base),
        new=tuple(ComparedRun.of(run) for run in new),
        verdicts=verdicts,
        passed=all(verdict.passes for verdict in verdicts),
    )


class _Sides:
    """Both sides by suite, paired on demand: a policy of floors alone needs no pairs."""

    def __init__(self, base: Mapping[str, StoredRun], new: Mapping[str, StoredRun]) -> None:
        self.base, self.new = base, new
        self._pairings: dict[str, Pairing] = {}

    def pairing(self, suite: str) -> Pairing:
        if suite not in self._pairings:
            self._pairings[suite] = pair_rows(self.base[suite], self.new[suite])
        return self._pairings[suite]


def _verdict(sides: _Sides, check: Check, target: Target) -> Verdict:
    """The verdict of one check on one target."""
    if target.suite not in sides.new:
        return _failed(check, target, f"NEW has no run of {target.suite}")
    if check.kind == "min":
        return _check_floor(sides.new[target.suite], check, target)
    if target.suite not in sides.base:
        raise UsageError(f"rule {check.selector.text!r}: BASE has no run of {target.suite}; make one, or drop the rule")
    if check.kind == "max_increase":
        return _check_cost(sides.pairing(target.suite), check, target)
    if target.role not in ("row", "mean"):
        raise UsageError(
            f"rule {check.selector.text!r}: {target.label} has no samples of its own, so {check.kind} cannot be "
            "tested; use min"
        )
    return _check_drop(sides.pairing(target.suite), check, target)


def _failed(check: Check, target: Target, reason: str, **values: float | None) -> Verdict:
    return Verdict(
        check.selector.text,
        target.label,
        check.kind,
        check.limit,
        "fail",
        passes=False,
        reason=reason,
        **values,  # type: ignore[arg-type]  # base and new
    )


# --- drops


def _check_drop(pairing: Pairing, check: Check, target: Target) -> Verdict:
    rows = [row for row in pairing.rows if row.ctx == target.ctx and target.name in ("", row.task)]
    of_base = [row for row in rows if _scored(pairing.base, row) > 0]
    if not of_base:
        raise UsageError(
            f"rule {check.selector.text!r}: BASE has no score for {target.label}; make a new baseline, or drop the rule"
        )
    missing = _missing(pairing, rows, of_base)
    if missing:
        return _failed(check, target, missing)
    in_order = sorted(of_base, key=lambda row: row.task)
    return _decide(pairing, pairing.in_mean(in_order) if target.role == "mean" else in_order, check, target)


def _missing(pairing: Pairing, rows: Sequence[PairedRow], of_base: Sequence[PairedRow]) -> str | None:
    """Why NEW's row says nothing: it is missing, or holds samples that errored or could not be asked."""
    errors = sum(_errors(pairing.new, row) for row in rows)
    if errors:
        return f"{errors} samples errored in NEW; run it again with --resume"
    unscored = sum(row.new_states["unscored"] for row in of_base)
    if unscored:
        return f"{unscored} samples that BASE scored are unscored in NEW"
    absent = [row.task for row in of_base if not row.pairs]
    return f"missing in NEW: {', '.join(absent)}" if absent else None


def _scored(run: StoredRun, row: PairedRow) -> int:
    return next((r.n for r in run.record.results if (r.task, r.ctx) == (row.task, row.ctx)), 0)


def _errors(run: StoredRun, row: PairedRow) -> int:
    return next((r.errors for r in run.record.results if (r.task, r.ctx) == (row.task, row.ctx)), 0)


def _decide(pairing: Pairing, rows: Sequence[PairedRow], check: Check, target: Target) -> Verdict:
    metric = rows[0].metric
    base, new = (
        metric.scale * float(np.mean([weighted_mean(values, row.weights) for row, values in side]))
        for side in ([(row, row.base_values) for row in rows], [(row, row.new_values) for row in rows])
    )
    drop = base - new if metric.higher_is_better else new - base
    interval = _drop_interval(pairing, rows, check.confidence)
    outcome = _outcome(check, interval)
    n = sum(len(row.pairs) for row in rows)
    more = _more_samples(drop, interval, check.limit, n) if outcome == "undecided" and interval else None
    asked = n + sum(row.new_states["missing"] for row in rows)
    left_out = f" ({n:,} of BASE's {asked:,} samples are in NEW)" if asked > n else ""
    return Verdict(
        rule=check.selector.text,
        target=target.label,
        kind=check.kind,
        limit=check.limit,
        outcome=outcome,
        passes=outcome == "pass" or (outcome == "undecided" and check.undecided_passes),
        reason=_drop_reason(check, drop, interval, outcome, more) + left_out,
        base=round(base, 9),
        new=round(new, 9),
        drop=round(drop, 9),
        interval=interval,
        confidence=check.confidence,
        n=n,
        more_samples=more,
        unit=metric.unit,
    )


def _drop_interval(pairing: Pairing, rows: Sequence[PairedRow], confidence: float) -> Interval | None:
    if pairing.same_model_and_answers:
        return 0.0, 0.0
    metric = rows[0].metric
    interval = pairing.differences(rows).interval(confidence)
    if interval is None:
        return None
    low, high = metric.scale * interval[0], metric.scale * interval[1]
    return (-high, -low) if metric.higher_is_better else (low, high)


def _outcome(check: Check, interval: Interval | None) -> Outcome:
    if interval is None:
        return "fail" if check.kind == "non_inferior" else "undecided"
    if interval[1] <= check.limit + _ROUNDING:
        return "pass"
    if check.kind == "non_inferior" or interval[0] > check.limit + _ROUNDING:
        return "fail"
    return "undecided"


def _more_samples(drop: float, interval: Interval, limit: float, n: int) -> int | None:
    """Pairs beyond `n` after which an interval that shrinks with their root leaves the limit out."""
    distance = abs(limit - drop)
    half = interval[1] - drop if drop < limit else drop - interval[0]
    if distance <= _ROUNDING or half <= 0:
        return None
    return max(1, math.ceil(n * (half / distance) ** 2) - n)


def _drop_reason(check: Check, drop: float, interval: Interval | None, outcome: Outcome, more: int | None) -> str:
    if interval is None:
        return "too few pairs for an interval"
    seen = f"drop {drop:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]"
    if outcome == "pass":
        return f"{seen} is at most {check.limit:g}"
    if check.kind == "non_inferior":
        return f"{seen}: more than {check.limit:g} is not ruled out"
    if outcome == "fail":
        return f"{seen} is above {check.limit:g}"
    needed = (
        "no number of samples decides a drop of exactly that" if more is None else f"about {more:,} more samples would"
    )
    return f"{seen}: these samples cannot tell whether it is above {check.limit:g}; {needed}"


# --- floors


def _check_floor(new: StoredRun, check: Check, target: Target) -> Verdict:
    record = new.record
    if target.role == "cost":
        raise UsageError(f"rule {check.selector.text!r}: times and memory are held with max_increase")
    rows = [row for row in record.results if row.ctx == target.ctx and target.name in ("", row.task)]
    errors = sum(row.errors for row in rows)
    if target.role in ("row", "mean"):
        if rows and not all(metric_of(row.metric).higher_is_better for row in rows if row.value is not None):
            raise UsageError(f"rule {check.selector.text!r}: of a loss less is better; hold it with max_drop")
        if errors:
            return _failed(check, target, f"{errors} samples errored in NEW; run it again with --resume")
    match target.role:
        case "row":
            value = next((row.value for row in rows), None)
        case "mean":
            value = next((row.mean for row in record.summary if row.ctx == target.ctx), None)
        case _:
            value = record_figures(record).get(target.name)
    if value is None:
        return _failed(check, target, _no_value(record_figures(record), target))
    passes = value >= check.limit - _ROUNDING
    return Verdict(
        rule=check.selector.text,
        target=target.label,
        kind=check.kind,
        limit=check.limit,
        outcome="pass" if passes else "fail",
        passes=passes,
        reason=f"{value:g} is {'at least' if passes else 'below'} {check.limit:g}",
        new=round(value, 9),
        n=sum(row.n for row in rows),
        unit="" if target.role == "figure" else "points",
    )


def _no_value(figures: Mapping[str, float | None], target: Target) -> str:
    if target.role == "figure" and target.name == "effective_length" and target.name in figures:
        return "below the shortest length that was run"
    return "missing in NEW" if target.role != "figure" else "not known in NEW"


# --- times and memory


def _check_cost(pairing: Pairing, check: Check, target: Target) -> Verdict:
    if target.role != "cost":
        raise UsageError(f"rule {check.selector.text!r}: max_increase is for times and memory")
    _refuse_other_hardware(pairing, check)
    cost = _cost(pairing, check, target)
    if cost is None:
        return _failed(check, target, "missing in NEW")
    change = cost.change or 0.0
    passes = change <= check.limit + _ROUNDING
    return Verdict(
        rule=check.selector.text,
        target=target.label,
        kind=check.kind,
        limit=check.limit,
        outcome="pass" if passes else "fail",
        passes=passes,
        reason=f"{change:+.1%} is {'at most' if passes else 'above'} {check.limit:+.1%}",
        base=cost.base,
        new=cost.new,
        drop=change,
        n=cost.n,
        unit=cost.unit,
    )


def _refuse_other_hardware(pairing: Pairing, check: Check) -> None:
    hardware = [describe_hardware(run.record) for run in (pairing.base, pairing.new)]
    if hardware[0] != hardware[1] or not hardware[0]:
        shown = [name or "hardware that it does not tell" for name in hardware]
        raise IncompatibleRunError(
            f"rule {check.selector.text!r}: BASE ran on {shown[0]} and NEW on {shown[1]}, so times and memory "
            "cannot be compared; run both on one machine, or drop the rule"
        )


def _cost(pairing: Pairing, check: Check, target: Target) -> CostComparison | None:
    """None where NEW lacks what BASE has; UsageError where BASE lacks it."""
    base, new = pairing.base.record, pairing.new.record
    if target.name == "peak_memory":
        if not base.memory.get("peak_bytes"):
            raise UsageError(f"rule {check.selector.text!r}: BASE has no peak memory; make a new baseline")
        if new.memory.get("peak_bytes") and base.memory.get("method") != new.memory.get("method"):
            raise IncompatibleRunError(
                f"rule {check.selector.text!r}: memory was measured in two ways ({base.memory.get('method')} in BASE, "
                f"{new.memory.get('method')} in NEW)"
            )
        return compare_memory(base, new)
    rows = pairing.rows if target.ctx is None else pairing.at(target.ctx)
    pairs = [pair for row in rows for pair in row.pairs]
    if pairs and not any(getattr(side, target.name) for pair in pairs for side in (pair.base, pair.new)):
        return CostComparison(target.name, target.ctx, "s a sample", 0.0, 0.0, 0.0, len(pairs))
    return compare_times(pairing, target.name, target.ctx)
