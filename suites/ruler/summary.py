"""From sample records to RULER's figures: task scores, means, effective length, weighted averages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.records import ResultRow, SampleRecord, SuiteSummary, SummaryRow
from evalkit.statistics.rows import mean_of_tasks, row_warnings
from suites.ruler.tasks import TASKS

EFFECTIVE_SCORE = 85.6
"""Llama-2-7B-chat at 4,096 tokens: the score that a length must reach to be effective."""


@dataclass(slots=True)
class Cell:
    """The samples of one task at one length."""

    metric: str = ""
    values: list[float] = field(default_factory=list)
    errors: int = 0
    unscored: int = 0

    @property
    def complete(self) -> bool:
        return bool(self.values) and not self.errors and not self.unscored


def summarize(records: Sequence[SampleRecord]) -> SuiteSummary:
    """The table of a run: values 0-100."""
    cells: dict[tuple[int, str], Cell] = {}
    for record in records:
        cell = cells.setdefault((record.ctx, record.task), Cell())
        if record.error is not None:
            cell.errors += 1
        elif record.score is None:
            cell.unscored += 1
        else:
            cell.values.append(record.score)
        cell.metric = cell.metric or record.metric
    return summarize_cells(cells)


def summarize_cells(cells: Mapping[tuple[int, str], Cell]) -> SuiteSummary:
    """The table over (length, task) cells, tasks in RULER's order and lengths ascending."""
    ordered = sorted(cells, key=lambda key: (key[0], TASKS.index(key[1])))
    ctxs = sorted({ctx for ctx, _ in cells})
    rows = [_summary_row(ctx, {task: cells[ctx, task] for of, task in ordered if of == ctx}) for ctx in ctxs]
    results = tuple(_result_row(ctx, task, cells[ctx, task]) for ctx, task in ordered)
    return SuiteSummary(
        results=results,
        summary=tuple(rows),
        effective_length=effective_length(rows),
        derived=weighted_averages(rows),
        warnings=row_warnings(results),
    )


def effective_length(rows: Sequence[SummaryRow]) -> int | None:
    """The largest length at which the mean of 13 is high enough, and at all lengths below it too.

    A length without a complete mean ends the search: it could have failed.
    """
    effective = None
    for row in sorted(rows, key=lambda row: row.ctx):
        if not row.complete or row.mean is None or row.mean < EFFECTIVE_SCORE:
            break
        effective = row.ctx
    return effective


def weighted_averages(rows: Sequence[SummaryRow]) -> dict[str, float | None]:
    """Means over the lengths with weights 1 … n (increasing) and n … 1; None where a length is incomplete."""
    means = [row.mean for row in sorted(rows, key=lambda row: row.ctx) if row.complete and row.mean is not None]
    if not rows or len(means) < len(rows):
        return {"wavg_increasing": None, "wavg_decreasing": None}
    weights = range(1, len(means) + 1)
    return {
        "wavg_increasing": _weighted(means, list(weights)),
        "wavg_decreasing": _weighted(means, list(reversed(weights))),
    }


def _weighted(means: Sequence[float], weights: Sequence[int]) -> float:
    return sum(mean * weight for mean, weight in zip(means, weights, strict=True)) / sum(weights)


def _result_row(ctx: int, task: str, cell: Cell) -> ResultRow:
    value, interval = mean_of_tasks([cell.values])
    return ResultRow(
        task=task,
        ctx=ctx,
        metric=cell.metric,
        value=value,
        n=len(cell.values),
        ci95=interval,
        errors=cell.errors,
        unscored=cell.unscored,
    )


def _summary_row(ctx: int, cells: Mapping[str, Cell]) -> SummaryRow:
    scored = [cell.values for cell in cells.values() if cell.values]
    mean, interval = mean_of_tasks(scored)
    return SummaryRow(
        ctx=ctx,
        mean=mean,
        ci95=interval,
        tasks=len(scored),
        complete=len(cells) == len(TASKS) and all(cell.complete for cell in cells.values()),
    )
