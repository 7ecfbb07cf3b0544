"""Floors: `min` compares a value of NEW with a number, and fails if the results are not complete."""

import math
from collections.abc import Sequence

from evalkit.analysis.gate_completeness import (
    cells_behind,
    not_whole,
    parts_of,
    shortfall,
    unscored_reasons,
)
from evalkit.analysis.gate_targets import Target
from evalkit.analysis.gate_verdict import ROUNDING, GateVerdict, incomplete
from evalkit.analysis.policy import Check, Expectation
from evalkit.errors import UsageError
from evalkit.records import Figure, ResultRow, RunRecord
from evalkit.records.metrics import is_of_loss, metric_of


def check_floor(
    new: RunRecord, base: RunRecord | None, check: Check, target: Target, expectation: Expectation
) -> GateVerdict:
    """Compare a value of NEW with the floor; BASE, if it has the suite, decides which results NEW needs."""
    if target.role == "cost":
        raise UsageError(f"rule {check.selector.text!r}: use max_increase for times and memory")
    cells = cells_behind(target, (base, new), expectation)
    parts = parts_of(new, base, cells, expectation)
    rows = [part.row for part in parts if part.row is not None]
    figure = target.figure(new)
    if target.role in ("row", "mean") and not all(metric_of(row.metric).higher_is_better for row in _scored(rows)):
        raise UsageError(
            f"rule {check.selector.text!r}: lower is better for the loss of {target.label}; use max_drop instead of min"
        )
    if figure is not None and is_of_loss(figure):
        raise UsageError(
            f"rule {check.selector.text!r}: lower is better for {target.label}, and min would pass a worse run; use "
            "max_drop on a row of the loss"
        )
    lacking = shortfall(parts, check, target.suite, "NEW", unscored_reasons(new)) or not_whole(
        target, new, base, expectation
    )
    if lacking:
        return incomplete(check, target, lacking)
    value = _value(figure, new, target, rows)
    if value is None:
        return incomplete(check, target, "no value in NEW")
    passes = value >= check.limit - ROUNDING
    return GateVerdict(
        rule=check.selector.text,
        target=target.label,
        kind=check.kind,
        limit=check.limit,
        outcome="pass" if passes else "fail",
        passes=passes,
        reason=_reason(value, check.limit, "points" if figure is None else figure.unit),
        value=round(value, 9),
        new=round(value, 9),
        n=0 if target.role == "figure" else sum(row.n for row in rows),
        unit="" if target.role == "figure" else "points",
        tier=check.tier,
    )


def _value(figure: Figure | None, new: RunRecord, target: Target, rows: Sequence[ResultRow]) -> float | None:
    if target.role == "figure":
        return None if figure is None else figure.value
    by_sample = any(row.by_sample for row in new.summary if row.ctx == target.ctx)
    scored = _scored(rows)
    weights = [row.n if by_sample else 1 for row in scored]
    total = math.fsum(weight * (row.value or 0.0) for weight, row in zip(weights, scored, strict=True))
    return total / sum(weights) if scored else None


def _scored(rows: Sequence[ResultRow]) -> list[ResultRow]:
    return [row for row in rows if row.value is not None]


def _reason(value: float, limit: float, unit: str) -> str:
    if value == 0 < limit and unit == "tokens":
        return "below the shortest length that was run"
    return f"{value:g} is {'at least' if value >= limit - ROUNDING else 'below'} {limit:g}"
