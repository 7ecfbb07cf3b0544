"""Tasks of lm-eval: a row for each, and below every number that lm-eval itself would report."""

from collections.abc import Sequence

from evalkit.records import Figure, ResultRow
from evalkit.records.metrics import metric_of
from reports.report import Table


def lm_eval_tables(results: Sequence[ResultRow], figures: Sequence[Figure]) -> list[Table]:
    """Scores in points or in the metric's unit; lm-eval's metrics as it prints them, on its own scales."""
    rows = tuple(_row(row) for row in results)
    metrics = tuple(
        (figure.name, "undefined" if figure.value is None else f"{figure.value:.6g}", f"{figure.n:,}")
        for figure in figures
    )
    return [
        Table("Score by task, with 95 % interval", ("task", "metric", "chance", "score", "unit", "documents"), rows),
        Table("All metrics, as lm-eval aggregates them", ("metric", "value", "documents"), metrics),
    ]


def _row(row: ResultRow) -> tuple[str, ...]:
    metric = metric_of(row.metric)
    digits = 1 if metric.bounded else 4
    left_out = [f"{row.errors} errored"] if row.errors else []
    left_out += [f"{row.unscored} unscored"] if row.unscored else []
    shown = "unscored" if row.value is None else f"{row.value:.{digits}f}"
    if row.value is not None and row.ci95 is not None:
        shown += f" [{row.ci95[0]:.{digits}f}, {row.ci95[1]:.{digits}f}]"
    shown += f" ({', '.join(left_out)})" if left_out else ""
    chance = "" if row.chance is None else f"{row.chance:.1f}"
    return row.task, row.metric, chance, shown, metric.unit, f"{row.n:,}"
