"""Accuracy by number of updates, and the largest number of updates held, computed from the samples."""

from collections.abc import Mapping, Sequence

from evalkit.records import Figure, ResultRow, SampleRecord, SuiteSummary, SummaryRow
from evalkit.statistics.rows import cells_of, result_row, row_warnings, scores_of, summary_row
from suites.state_tracking.scoring import METRIC
from suites.state_tracking.settings import NO_CTX, StateTrackingSettings
from suites.state_tracking.tasks import TASKS, row_name

HELD_ACCURACY = 90.0
"""Accuracy from which on a number of updates is held, if all smaller tested numbers reach it too."""


def summarize(settings: StateTrackingSettings, records: Sequence[SampleRecord]) -> SuiteSummary:
    """Rows in the order of the plan: context, task, number of updates."""
    cells = cells_of(records)
    rows = tuple(
        result_row(
            task,
            ctx,
            cells[row_name(task, updates), ctx],
            metric=METRIC,
            chance=100 * TASKS[task].chance,
            updates=updates,
        )
        for ctx in settings.ctxs
        for task in settings.tasks
        for updates in settings.updates
    )
    return SuiteSummary(
        results=rows,
        summary=tuple(_mean(settings, [row for row in rows if row.ctx == ctx], cells) for ctx in settings.ctxs),
        figures=tuple(
            _held([row for row in rows if (row.task, row.ctx) == (task, ctx)])
            for ctx in settings.ctxs
            for task in settings.tasks
        ),
        warnings=row_warnings(rows),
    )


def updates_held(rows: Sequence[ResultRow]) -> int:
    """The largest number of updates with accuracy of at least 90 %, all smaller ones of `rows` included.

    0 if not even the smallest is held. Rows are of one task and one context, in any order.
    """
    held = 0
    for row in sorted(rows, key=lambda row: row.updates or 0):
        if row.value is None or row.value < HELD_ACCURACY:
            break
        held = row.updates or 0
    return held


def _held(rows: Sequence[ResultRow]) -> Figure:
    ctx = None if rows[0].ctx == NO_CTX else rows[0].ctx
    return Figure("updates_held", updates_held(rows), "updates", part=rows[0].task, ctx=ctx)


def _mean(
    settings: StateTrackingSettings,
    rows: Sequence[ResultRow],
    cells: Mapping[tuple[str, int], Sequence[SampleRecord]],
) -> SummaryRow:
    """Mean over the rows of one context."""
    complete = set(settings.tasks) == set(TASKS) and all(row.n == settings.samples for row in rows)
    return summary_row(rows[0].ctx, [scores_of(cells[row.cell]) for row in rows], complete=complete)
