"""RULER's rows, means, effective length and weighted averages, computed from the samples."""

from collections.abc import Sequence

from evalkit.records import EFFECTIVE_LENGTH, Figure, ResultRow, SampleRecord, SuiteSummary, SummaryRow
from evalkit.statistics.effective_length import FIXED_SCORE
from evalkit.statistics.rows import cells_of, result_row, row_warnings, scores_of, summary_row
from suites.ruler.tasks import TASKS


def summarize(records: Sequence[SampleRecord]) -> SuiteSummary:
    """Rows 0-100 by ascending length, tasks in RULER's order."""
    cells = cells_of(records)
    ordered = sorted(cells, key=lambda cell: (cell[1], TASKS.index(cell[0])))
    rows = tuple(result_row(task, ctx, cells[task, ctx]) for task, ctx in ordered)
    means = tuple(
        summary_row(
            ctx,
            [scores_of(cells[task, of]) for task, of in ordered if of == ctx],
            complete=_is_complete([row for row in rows if row.ctx == ctx]),
        )
        for ctx in sorted({row.ctx for row in rows})
    )
    return SuiteSummary(
        results=rows,
        summary=means,
        figures=(*_effective_length(means), *_weighted_averages(means)),
        warnings=row_warnings(rows),
    )


def _is_complete(rows: Sequence[ResultRow]) -> bool:
    """Whether the rows of one length include all tasks with all samples."""
    return len(rows) == len(TASKS) and all(row.n and not row.errors and not row.unscored for row in rows)


def _effective_length(rows: Sequence[SummaryRow]) -> list[Figure]:
    """The largest length such that the mean of 13 reaches the threshold there and at all shorter lengths; 0 for none.

    A length without a complete mean ends the search: it could have failed. Empty if there is no complete mean.
    """
    if not any(row.complete for row in rows):
        return []
    effective = 0
    for row in rows:
        if not row.complete or row.mean is None or row.mean < FIXED_SCORE:
            break
        effective = row.ctx
    return [Figure(EFFECTIVE_LENGTH, effective, "tokens")]


def _weighted_averages(rows: Sequence[SummaryRow]) -> list[Figure]:
    """Means over the lengths with weights 1 … n (increasing) and n … 1; None if a length is incomplete."""
    means = [row.mean for row in rows if row.complete and row.mean is not None]
    weights = list(range(1, len(rows) + 1))
    return [
        Figure(name, _weighted(means, order) if rows and len(means) == len(rows) else None, "points")
        for name, order in (("wavg_increasing", weights), ("wavg_decreasing", weights[::-1]))
    ]


def _weighted(means: Sequence[float], weights: Sequence[int]) -> float:
    return sum(mean * weight for mean, weight in zip(means, weights, strict=True)) / sum(weights)
