"""Accuracy against the number of state updates, a table for each context."""

from collections.abc import Mapping, Sequence

from evalkit.records import ResultRow
from reports.report import Table

HELD = "updates_held/"
"""Prefix of the derived figures that tell the largest number of updates held."""


def updates_tables(results: Sequence[ResultRow], derived: Mapping[str, float | None]) -> list[Table]:
    """A row for each task: chance, accuracy at each number of updates, and how many are held."""
    return [
        _table(ctx, [row for row in results if row.ctx == ctx], derived) for ctx in sorted({row.ctx for row in results})
    ]


def _table(ctx: int, rows: Sequence[ResultRow], derived: Mapping[str, float | None]) -> Table:
    columns = sorted({row.updates for row in rows if row.updates is not None})
    tasks = dict.fromkeys(_task(row) for row in rows)
    cells = {(_task(row), row.updates): row for row in rows}
    lines = []
    for task in tasks:
        shown = [_cell(cells.get((task, updates))) for updates in columns]
        lines.append((task, _chance(rows, task), *shown, _held(task, ctx, derived)))
    where = f"filled with other text to {ctx:,} tokens" if ctx else "nothing between the updates"
    samples = ", ".join(sorted({f"{row.n:,}" for row in rows if row.value is not None}, key=int)) or "no"
    return Table(
        f"Accuracy (0-100) against state updates, with 95 % interval; {where}; {samples} samples each",
        ("task", "chance", *(f"{updates:,}" for updates in columns), "held at ≥ 90 %"),
        tuple(lines),
    )


def _task(row: ResultRow) -> str:
    return row.task.removesuffix(f":{row.updates}")


def _chance(rows: Sequence[ResultRow], task: str) -> str:
    return next((f"{row.chance:.1f}" for row in rows if _task(row) == task and row.chance is not None), "")


def _held(task: str, ctx: int, derived: Mapping[str, float | None]) -> str:
    name = f"{HELD}{task}@{ctx}" if ctx else f"{HELD}{task}"
    if name not in derived:
        return ""
    held = derived[name]
    return "none" if held is None else f"{held:,.0f}"


def _cell(row: ResultRow | None) -> str:
    if row is None or row.value is None:
        return f"all {row.errors} errored" if row is not None and row.errors else "unscored"
    interval = "" if row.ci95 is None else f" [{row.ci95[0]:.0f}, {row.ci95[1]:.0f}]"
    left_out = row.errors + row.unscored
    return f"{row.value:.0f}{interval}" + (f" ({left_out} left out)" if left_out else "")
