"""Scores of any suite: a table of tasks by context length, and its figures as facts."""

from collections.abc import Sequence

from evalkit.records import Figure, ResultRow, RunRecord, SummaryRow, UnscoredCell
from evalkit.statistics.thoughts import is_of_thoughts
from evalkit.values import counted
from reports.numbers import measured, tested_length
from reports.report import SuiteReport, Table

_LABELS = {
    "wavg_increasing": "weighted mean, longer contexts weigh more (wavg increasing)",
    "wavg_decreasing": "weighted mean, shorter contexts weigh more (wavg decreasing)",
}


def report(record: RunRecord) -> SuiteReport:
    """The report of a suite that brings none of its own."""
    return SuiteReport(
        (score_table(record.results, record.summary, record.unscored),), figure_facts(record.figures, record.results)
    )


def figure_facts(figures: Sequence[Figure], results: Sequence[ResultRow]) -> tuple[tuple[str, str], ...]:
    """A line for each figure of the answers that has a value; `results` say which lengths were tested."""
    lengths = [row.ctx for row in results]
    return tuple(
        (_LABELS.get(figure.label, figure.label.replace("_", " ")), _figure(figure, figure.value, lengths))
        for figure in figures
        if figure.value is not None and not is_of_thoughts(figure)
    )


def _figure(figure: Figure, value: float, lengths: Sequence[int]) -> str:
    match figure.unit:
        case "tokens":
            return tested_length(value, lengths)
        case "points":
            return measured(value, figure.ci95, 1)
        case unit:
            return f"{value:,.4g} {unit}".rstrip()


def score_table(results: Sequence[ResultRow], summary: Sequence[SummaryRow], unscored: Sequence[UnscoredCell]) -> Table:
    """Tasks by context length, after their mean."""
    ctxs = sorted({row.ctx for row in results} | {cell.ctx for cell in unscored})
    tasks = dict.fromkeys([row.name for row in results] + [cell.task for cell in unscored])
    cells = {row.cell: row for row in results}
    counts = {row.n for row in results if row.value is not None}
    chances = {row.name: f"{row.chance:.1f}" for row in results if row.chance is not None}
    chance = [*(("chance",) if chances else ())]
    means = {row.ctx: row for row in summary}
    sizes = {row.tasks for row in summary}
    rows = []
    if means:
        label = f"mean of {counted(sizes.pop(), 'task')}" if len(sizes) == 1 else "mean"
        rows.append((label, *("" for _ in chance), *(_mean(means.get(ctx), show_tasks=bool(sizes)) for ctx in ctxs)))
    rows += [
        (
            task,
            *(chances.get(task, "") for _ in chance),
            *(_result(cells.get((task, ctx)), show_n=len(counts) > 1) for ctx in ctxs),
        )
        for task in tasks
    ]
    return Table(
        _title(results, counts), ("task", *chance, *(f"{ctx:,}" if ctx else "score" for ctx in ctxs)), tuple(rows)
    )


def _title(results: Sequence[ResultRow], counts: set[int]) -> str:
    interval = ", with 95 % interval" if any(row.ci95 is not None for row in results) else ""
    samples = f"; {counted(min(counts), 'sample')} each" if len(counts) == 1 else ""
    return f"Score (0-100) by task and context length{interval}{samples}"


def _result(row: ResultRow | None, *, show_n: bool) -> str:
    if row is None or (row.value is None and not row.errors):
        return "unscored"
    if row.value is None:
        return f"all {row.errors} errored"
    remarks = [f"n={row.n:,}" if show_n else "", f"{row.errors} errored" if row.errors else ""]
    return measured(row.value, row.ci95, 1, remarks)


def _mean(row: SummaryRow | None, *, show_tasks: bool) -> str:
    if row is None or row.mean is None:
        return "unscored"
    remarks = [f"of {counted(row.tasks, 'task')}" if show_tasks else "", "" if row.complete else "part of the suite"]
    return measured(row.mean, row.ci95, 1, remarks)
