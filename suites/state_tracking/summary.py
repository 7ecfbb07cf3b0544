"""From sample records to accuracy against updates, and to the largest number of updates that a model holds."""

from collections import defaultdict
from collections.abc import Sequence

from evalkit.records import ResultRow, SampleRecord, SuiteSummary, SummaryRow
from evalkit.statistics.rows import mean_of_tasks, result_row, row_warnings
from suites.state_tracking.scoring import METRIC
from suites.state_tracking.settings import NO_CTX, StateTrackingSettings
from suites.state_tracking.tasks import TASKS, row_name, split_row_name

HELD_ACCURACY = 90.0
"""A number of updates is held where the accuracy at it, and at every smaller one asked, is at least this."""


def summarize(settings: StateTrackingSettings, records: Sequence[SampleRecord]) -> SuiteSummary:
    """Rows in the order of the plan: context, task, number of updates."""
    cells: dict[tuple[str, int], list[SampleRecord]] = defaultdict(list)
    for record in records:
        cells[record.task, record.ctx].append(record)
    rows = tuple(
        _row(row_name(task, updates), ctx, cells[row_name(task, updates), ctx])
        for ctx in settings.ctxs
        for task in settings.tasks
        for updates in settings.updates
    )
    return SuiteSummary(
        results=rows,
        summary=tuple(_summary_row(settings, ctx, rows, cells) for ctx in settings.ctxs),
        effective_length=None,
        derived=_derived(settings, rows),
        warnings=row_warnings(rows),
    )


def updates_held(rows: Sequence[ResultRow]) -> int | None:
    """The largest number of updates with accuracy of at least 90 %, all smaller ones of `rows` included.

    None where not even the smallest is held. Rows are of one task and one context, in any order.
    """
    held = None
    for row in sorted(rows, key=lambda row: row.updates or 0):
        if row.value is None or row.value < HELD_ACCURACY:
            break
        held = row.updates
    return held


def held_name(task: str, ctx: int) -> str:
    """The name of a held number of updates among the derived figures."""
    return f"updates_held/{task}" if ctx == NO_CTX else f"updates_held/{task}@{ctx}"


def _row(name: str, ctx: int, records: Sequence[SampleRecord]) -> ResultRow:
    task, updates = split_row_name(name)
    return result_row(name, ctx, records, metric=METRIC, chance=100 * task.chance, updates=updates)


def _summary_row(
    settings: StateTrackingSettings,
    ctx: int,
    rows: Sequence[ResultRow],
    cells: dict[tuple[str, int], list[SampleRecord]],
) -> SummaryRow:
    here = [row for row in rows if row.ctx == ctx]
    groups = [_scores(cells[row.task, ctx]) for row in here if row.value is not None]
    mean, interval = mean_of_tasks(groups)
    return SummaryRow(
        ctx=ctx,
        mean=mean,
        ci95=interval,
        tasks=len(groups),
        complete=set(settings.tasks) == set(TASKS) and all(row.n == settings.samples for row in here),
    )


def _derived(settings: StateTrackingSettings, rows: Sequence[ResultRow]) -> dict[str, float | None]:
    return {
        held_name(task, ctx): updates_held(
            [row for row in rows if row.ctx == ctx and row.task.partition(":")[0] == task]
        )
        for ctx in settings.ctxs
        for task in settings.tasks
    }


def _scores(records: Sequence[SampleRecord]) -> list[float]:
    return [record.score for record in records if record.score is not None]
