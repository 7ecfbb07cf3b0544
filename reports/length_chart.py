"""Scores by context length, one line per model: the first chart of a page, and bars on a terminal."""

import math
from collections.abc import Collection, Mapping, Sequence

from evalkit.analysis.comparison import Comparison, RowComparison
from evalkit.records import RunRecord, SummaryRow
from evalkit.records.results import Interval
from reports.charts import Lines, Series

SCORE = "score (0-100)"
SCORE_RANGE = (0.0, 100.0)
LENGTH = "context length (tokens)"

Point = tuple[float, float, Interval | None]
"""Place, value and interval."""


def mean_lines(records: Mapping[str, RunRecord], *, least: int = 2) -> Lines | None:
    """The mean over tasks by length, for each run with at least `least` lengths; None if no run has them."""
    series = []
    for name, record in records.items():
        points = [(row.ctx, row.mean, row.ci95) for row in record.summary if row.mean is not None and row.ctx]
        if len(points) >= least:
            series.append(series_of(name, points, {row.ctx for row in record.summary if not row.complete}))
    return by_length("lengths", "score by context length, mean over tasks", series) if series else None


def compared_lines(
    comparisons: Sequence[Comparison], names: Sequence[str], records: Mapping[str, RunRecord], *, least: int = 2
) -> Lines | None:
    """The means by length over the samples that were compared, one line per run; None below `least` lengths.

    A mean that is that of the whole run has the interval in `records`. A run that was compared over fewer samples than
    another one has no point at that length, because its mean and BASE's there are over other questions.
    """
    points: dict[str, list[Point]] = {name: [] for name in names}
    incomplete: dict[str, set[float]] = {name: set() for name in names}
    means = [_compared_means(comparison) for comparison in comparisons]
    for ctx in sorted({ctx for of_run in means for ctx in of_run}):
        rows = {name: of_run[ctx] for name, of_run in zip(names[1:], means, strict=True) if ctx in of_run}
        base = max(rows.values(), key=lambda row: row.n).base
        values = {names[0]: base} | {name: row.new for name, row in rows.items() if row.base == base}
        for name, value in values.items():
            if value is None:
                continue
            whole = _mean(records.get(name), ctx, value)
            points[name].append((ctx, value, None if whole is None else whole.ci95))
            if name in records and not (whole and whole.complete):
                incomplete[name].add(ctx)
    series = [series_of(name, found, incomplete[name]) for name, found in points.items() if len(found) >= least]
    return by_length("lengths", "score by context length, mean over tasks", series) if series else None


def _compared_means(comparison: Comparison) -> dict[int, RowComparison]:
    """The mean at each length, or the only task there."""
    found: dict[int, list[RowComparison]] = {}
    for row in comparison.rows:
        if row.ctx and row.difference is not None and row.unit == "points":
            found.setdefault(row.ctx, []).append(row)
    means = {ctx: [row for row in rows if row.task is None] or rows for ctx, rows in found.items()}
    return {ctx: rows[0] for ctx, rows in means.items() if len(rows) == 1}


def _mean(record: RunRecord | None, ctx: int, value: float) -> SummaryRow | None:
    """The run's own mean, if `value` is that mean."""
    means = () if record is None else record.summary
    return next(
        (row for row in means if row.ctx == ctx and row.mean is not None and math.isclose(row.mean, value)), None
    )


def by_length(name: str, title: str, series: Sequence[Series]) -> Lines:
    """A chart of scores from 0 to 100 by context length."""
    return Lines(name, title, LENGTH, SCORE, tuple(series), log_x=True, y_range=SCORE_RANGE)


def series_of(name: str, points: Sequence[Point], incomplete: Collection[float] = ()) -> Series:
    """The points in the order of their places; one without an interval has its value at both ends.

    `incomplete` are the places of points that lack tasks or samples.
    """
    ordered = sorted(points, key=lambda point: point[0])
    bounds = [interval or (value, value) for _, value, interval in ordered]
    return Series(
        name=name,
        x=tuple(x for x, _, _ in ordered),
        y=tuple(value for _, value, _ in ordered),
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
        incomplete=tuple(x in incomplete for x, _, _ in ordered) if incomplete else (),
    )
