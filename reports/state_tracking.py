"""Accuracy by number of state updates, one table per context."""

import math
from collections.abc import Sequence

from evalkit.records import ResultRow, RunRecord
from reports.numbers import measured
from reports.report import SuiteReport, Table


def report(record: RunRecord) -> SuiteReport:
    """One row per task: chance, accuracy at each number of updates, and the most updates held."""
    return SuiteReport(tuple(_table(record, ctx) for ctx in sorted({row.ctx for row in record.results})))


def _table(record: RunRecord, ctx: int) -> Table:
    rows = [row for row in record.results if row.ctx == ctx]
    columns = sorted({row.updates for row in rows if row.updates is not None})
    cells = {(row.task, row.updates): row for row in rows}
    # Whole numbers alone would show 89.6 as 90, beside a column of what is held at 90 and more.
    places = (
        0 if all(row.value is None or math.isclose(row.value, round(row.value), abs_tol=1e-6) for row in rows) else 1
    )
    held = {figure.part: figure.value for figure in record.figures if (figure.ctx or 0) == ctx}
    lines = [
        (
            task,
            _chance([row for row in rows if row.task == task]),
            *(_cell(cells.get((task, updates)), places) for updates in columns),
            _held(held[task]) if task in held else "",
        )
        for task in dict.fromkeys(row.task for row in rows)
    ]
    where = f"filled with other text to {ctx:,} tokens" if ctx else "nothing between the updates"
    samples = ", ".join(sorted({f"{row.n:,}" for row in rows if row.value is not None}, key=int)) or "no"
    each = f"{samples} sample{'' if samples == '1' else 's'} each"
    return Table(
        f"Accuracy (0-100) by number of state updates, with 95 % interval; {where}; {each}",
        ("task", "chance", *(f"{updates:,}" for updates in columns), "held at ≥ 90 %"),
        tuple(lines),
    )


def _chance(rows: Sequence[ResultRow]) -> str:
    return next((f"{row.chance:.1f}" for row in rows if row.chance is not None), "")


def _cell(row: ResultRow | None, places: int) -> str:
    if row is None or row.value is None:
        return f"all {row.errors} errored" if row is not None and row.errors else "unscored"
    left_out = row.errors + row.unscored
    return measured(row.value, row.ci95, places, [f"{left_out} left out" if left_out else ""])


def _held(updates: float | None) -> str:
    return f"{updates:,.0f}" if updates else "none"
