"""Which charts a run, a comparison and a leaderboard have."""

from collections.abc import Sequence

from evalkit.analysis.comparison import Comparison
from evalkit.analysis.leaderboard import Board
from evalkit.analysis.pairing import Pairing
from evalkit.records import ResultRow, RunRecord, SampleRecord
from evalkit.views.grids import Grid, depth_difference_grid, depth_grid, task_difference_grid, task_grid
from reports.charts import Bars, Chart, HeatMap, Lines, Series
from reports.context_extension import position_series
from reports.plain_text import one_line

SCORE = "score (0-100)"
SCORE_RANGE = (0.0, 100.0)
LENGTH = "context length (tokens)"


def run_charts(record: RunRecord, samples: Sequence[SampleRecord]) -> list[Chart]:
    """Those of one run: scores by task and by depth, accuracy against updates, loss by position, failures."""
    name = one_line(record.model.name)
    charts: list[Chart | None] = [
        _updates(record.results) if any(row.updates for row in record.results) else None,
        _heat_map("tasks", f"{name}: scores", "task", task_grid(record)) if not _has_updates(record) else None,
        _heat_map("depths", f"{name}: needles found", "needle depth", depth_grid(samples)),
        _mean_lines({name: record}),
        _positions({name: record}),
        _failures([(name, record)]),
    ]
    return [chart for chart in charts if chart is not None]


def comparison_charts(comparison: Comparison, pairing: Pairing | None) -> list[Chart]:
    """Those of two runs: differences by row, by task and by depth, both means by length, failures side by side."""
    records = {} if pairing is None else _sides(pairing)
    charts: list[Chart | None] = [_differences(comparison)]
    if pairing is not None:
        tasks, depths = task_difference_grid(pairing), depth_difference_grid(pairing)
        charts += [
            _heat_map("task_differences", "NEW - BASE, by task", "task", tasks, is_difference=True),
            _heat_map("depth_differences", "NEW - BASE, needles found", "needle depth", depths, is_difference=True),
        ]
    charts += [_mean_lines(records), _positions(records), _failures(list(records.items()))]
    return [chart for chart in charts if chart is not None]


def board_charts(board: Board) -> list[Chart]:
    """Scores by length for each suite that was asked at several."""
    charts: list[Chart] = []
    for suite in dict.fromkeys(column.suite for column in board.columns):
        places = [
            (index, column.ctx)
            for index, column in enumerate(board.columns)
            if column.suite == suite and not column.name and column.ctx
        ]
        if len(places) > 1:
            series = []
            for row in board.rows:
                points = [(ctx, row.cells[index]) for index, ctx in places]
                known = [(ctx, cell.value, cell.ci95) for ctx, cell in points if cell is not None and ctx is not None]
                if known:
                    series.append(_series(f"{one_line(row.model)} ({row.fingerprint[-8:]})", known))
            name = "".join(letter if letter.isalnum() else "_" for letter in suite)
            title = f"{one_line(suite)}: mean by length"
            charts.append(
                Lines(f"lengths_{name}", title, LENGTH, SCORE, tuple(series), log_x=True, y_range=SCORE_RANGE)
            )
    return charts


def _sides(pairing: Pairing) -> dict[str, RunRecord]:
    base, new = pairing.base.record, pairing.new.record
    return {f"BASE {one_line(base.model.name)}": base, f"NEW {one_line(new.model.name)}": new}


def _heat_map(name: str, title: str, y_label: str, grid: Grid, *, is_difference: bool = False) -> HeatMap | None:
    if not grid.rows or not grid.columns:
        return None
    return HeatMap(
        name=name,
        title=title,
        x_label=LENGTH,
        y_label=y_label,
        columns=tuple(f"{ctx:,}" if ctx else "no context" for ctx in grid.columns),
        rows=tuple(one_line(row) for row in grid.rows),
        values=grid.values,
        counts=grid.counts,
        is_difference=is_difference,
    )


def _has_updates(record: RunRecord) -> bool:
    return any(row.updates for row in record.results)


def _updates(rows: Sequence[ResultRow]) -> Lines:
    """Accuracy against updates, a line for each task and context."""
    lines: dict[str, list[tuple[float, float, tuple[float, float] | None]]] = {}
    for row in rows:
        if row.updates is not None and row.value is not None:
            task = row.task.removesuffix(f":{row.updates}")
            name = one_line(f"{task} at {row.ctx:,}" if row.ctx else task)
            lines.setdefault(name, []).append((row.updates, row.value, row.ci95))
    series = tuple(_series(name, points) for name, points in lines.items())
    return Lines("updates", "Accuracy against state updates", "updates", SCORE, series, log_x=True, y_range=SCORE_RANGE)


def _mean_lines(records: dict[str, RunRecord]) -> Lines | None:
    """The mean over tasks by length, where there are several lengths."""
    series = []
    for name, record in records.items():
        points = [(row.ctx, row.mean, row.ci95) for row in record.summary if row.mean is not None and row.ctx]
        if len(points) > 1:
            series.append(_series(name, points))
    if not series:
        return None
    return Lines("lengths", "Mean over the tasks", LENGTH, SCORE, tuple(series), log_x=True, y_range=SCORE_RANGE)


def _positions(records: dict[str, RunRecord]) -> Lines | None:
    """Loss by position, at the middle of each bucket."""
    series = []
    for name, record in records.items():
        points = [
            ((first + end) / 2, figure.value, figure.ci95)
            for first, end, figure in position_series(record.figures, "nats")
            if figure.value is not None
        ]
        if points:
            series.append(_series(name, points))
    if not series:
        return None
    title = "Loss by position"
    return Lines("positions", title, "position (tokens)", "nats per token", tuple(series), log_x=False, y_range=None)


def _series(name: str, points: Sequence[tuple[float, float, tuple[float, float] | None]]) -> Series:
    ordered = sorted(points, key=lambda point: point[0])
    bounds = [interval or (value, value) for _, value, interval in ordered]
    return Series(
        name=name,
        x=tuple(x for x, _, _ in ordered),
        y=tuple(value for _, value, _ in ordered),
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
    )


def _failures(records: Sequence[tuple[str, RunRecord]]) -> Bars | None:
    kinds = sorted({kind for _, record in records for kind in record.failures})
    if not kinds:
        return None
    return Bars(
        name="failures",
        title="Why answers were wrong",
        x_label="samples",
        categories=tuple(one_line(kind.replace("_", " ")) for kind in kinds),
        groups=tuple((name, tuple(float(record.failures.get(kind, 0)) for kind in kinds)) for name, record in records),
    )


def _differences(comparison: Comparison) -> Lines | None:
    """NEW - BASE by length with interval: a line for each task, and one for the mean."""
    points: dict[str, list[tuple[float, float, tuple[float, float] | None]]] = {}
    for row in comparison.rows:
        if row.difference is not None and row.unit == "points":
            points.setdefault(one_line(row.task or "mean of the tasks"), []).append((row.ctx, row.difference, row.ci95))
    if not points:
        return None
    series = tuple(_series(name, of_task) for name, of_task in points.items())
    log_x = all(x > 0 for one in series for x in one.x)
    title = "NEW - BASE with 95 % interval"
    return Lines("differences", title, LENGTH, "points", series, log_x=log_x, y_range=None)
