"""Tasks of lm-eval: a row per task, then every number that lm-eval itself would report."""

from evalkit.records import ResultRow, RunRecord
from evalkit.records.metrics import metric_of
from evalkit.statistics.thoughts import is_of_thoughts
from reports.numbers import decimals, left_out, measured
from reports.report import SuiteReport, Table


def report(record: RunRecord) -> SuiteReport:
    """Scores in points or in the metric's unit; lm-eval's metrics as it prints them, on its own scales."""
    rows = tuple(map(_row, record.results))
    metrics = tuple(
        (figure.label, "undefined" if figure.value is None else f"{figure.value:.6g}", f"{figure.n:,}")
        for figure in record.figures
        if not is_of_thoughts(figure)
    )
    columns = ("task", "metric", "chance", "score", "unit", "documents")
    return SuiteReport(
        (
            Table("Score by task, with 95 % interval", columns, rows),
            Table("All metrics, as lm-eval aggregates them", ("metric", "value", "documents"), metrics),
        )
    )


def _row(row: ResultRow) -> tuple[str, ...]:
    unit = metric_of(row.metric).unit
    shown = measured(row.value, row.ci95, decimals(unit), left_out(row.errors, row.unscored))
    chance = "" if row.chance is None else f"{row.chance:.1f}"
    return row.task, row.metric, chance, shown, unit, f"{row.n:,}"
