"""Scores by context length, one line per model: the first chart of a page, and bars on a terminal."""

from collections.abc import Mapping, Sequence

from evalkit.records import RunRecord
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
            series.append(series_of(name, points))
    return by_length("lengths", "score by context length, mean over tasks", series) if series else None


def by_length(name: str, title: str, series: Sequence[Series]) -> Lines:
    """A chart of scores from 0 to 100 by context length."""
    return Lines(name, title, LENGTH, SCORE, tuple(series), log_x=True, y_range=SCORE_RANGE)


def series_of(name: str, points: Sequence[Point]) -> Series:
    """The points in the order of their places; one without an interval has its value at both ends."""
    ordered = sorted(points, key=lambda point: point[0])
    bounds = [interval or (value, value) for _, value, interval in ordered]
    return Series(
        name=name,
        x=tuple(x for x, _, _ in ordered),
        y=tuple(value for _, value, _ in ordered),
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
    )
