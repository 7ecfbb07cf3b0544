"""The charts of a run, of a comparison and of a leaderboard."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from evalkit.analysis.comparison import Comparison
from evalkit.analysis.leaderboard import Board
from evalkit.analysis.pairing import Pairing
from evalkit.records import ResultRow, RunRecord, SampleRecord
from evalkit.suite_spec import find_hook
from evalkit.views.grids import Grid, depth_difference_grid, depth_grid, figure_grid, task_difference_grid, task_grid
from reports.charts import Bars, Chart, HeatMap, Lines, Series
from reports.plain_text import visible

SCORE = "score (0-100)"
SCORE_RANGE = (0.0, 100.0)
LENGTH = "context length (tokens)"
NATS = "nats per token"


def run_charts(record: RunRecord, samples: Sequence[SampleRecord]) -> list[Chart]:
    """Charts of one run, made by its suite."""
    return list(find_hook(record.suite, "charts")(record, samples))


def charts_of(record: RunRecord, samples: Sequence[SampleRecord]) -> list[Chart]:
    """Those of any suite: means by length, scores by task, updates and depth, loss by position, failures."""
    name = record.model.name
    depths = figure_grid(record.figures)
    has_updates = any(row.updates and row.value is not None for row in record.results)
    charts: list[Chart | None] = [
        _mean_lines({name: record}),
        _updates(name, record.results) if has_updates else _task_map("tasks", f"{name}: scores", task_grid(record)),
        _heat_map("depths", f"{name}: needles found", "needle depth", depths if depths.rows else depth_grid(samples)),
        _positions({name: record}),
        _failures({name: record}),
    ]
    return [chart for chart in charts if chart is not None]


def comparison_charts(comparison: Comparison, pairing: Pairing | None) -> list[Chart]:
    """Charts of two runs: means by length and their difference, differences by task and by depth, losses, failures."""
    if pairing is None:
        charts: list[Chart | None] = [_differences(comparison)]
    else:
        base, new = pairing.base.record, pairing.new.record
        records = {f"BASE {base.model.name}": base, f"NEW {new.model.name}": new}
        depths = depth_difference_grid(pairing)
        charts = [
            _mean_lines(records),
            _differences(comparison),
            _task_map("task_differences", "NEW - BASE by task", task_difference_grid(pairing), is_difference=True),
            _heat_map("depth_differences", "NEW - BASE, needles found", "needle depth", depths, is_difference=True),
            _positions(records),
            _failures(records),
        ]
    return [_of_suite(chart, comparison.suite) for chart in charts if chart is not None]


def board_charts(board: Board) -> list[Chart]:
    """Scores by length, for each suite with several lengths."""
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
                    series.append(_series(f"{row.model} ({row.fingerprint.removeprefix('sha256:')[:8]})", known))
            if series:
                name = "".join(letter if letter.isalnum() else "_" for letter in suite)
                charts.append(_by_length(f"lengths_{name}", f"{suite}: mean by length", series))
    return charts


def _task_map(name: str, title: str, grid: Grid, *, is_difference: bool = False) -> HeatMap | None:
    """Heat map of tasks by length, each cell a link to its samples; None for a single cell."""
    chart = _heat_map(name, title, "task", grid, is_difference=is_difference)
    if chart is None or len(grid.rows) == len(grid.columns) == 1:
        return None
    links = (tuple(urlencode({"task": visible(row), "length": ctx}) for ctx in grid.columns) for row in grid.rows)
    return replace(chart, links=tuple(links))


def _heat_map(name: str, title: str, y_label: str, grid: Grid, *, is_difference: bool = False) -> HeatMap | None:
    if not grid.rows or not grid.columns:
        return None
    return HeatMap(
        name=name,
        title=title,
        x_label=LENGTH if any(grid.columns) else "",
        y_label=y_label,
        columns=tuple(f"{ctx:,}" if ctx else "no context" for ctx in grid.columns),
        rows=grid.rows,
        values=grid.values,
        counts=grid.counts,
        is_difference=is_difference,
    )


def _updates(model: str, rows: Sequence[ResultRow]) -> Lines:
    """Accuracy by number of updates, one line per task and context."""
    lines: dict[str, list[tuple[float, float, tuple[float, float] | None]]] = {}
    for row in rows:
        if row.updates is not None and row.value is not None:
            name = f"{row.task} at {row.ctx:,}" if row.ctx else row.task
            lines.setdefault(name, []).append((row.updates, row.value, row.ci95))
    series = tuple(_series(name, points) for name, points in lines.items())
    title = f"{model}: accuracy against state updates"
    return Lines("updates", title, "updates", SCORE, series, log_x=True, y_range=SCORE_RANGE)


def _mean_lines(records: Mapping[str, RunRecord]) -> Lines | None:
    """The mean over tasks by length, if there are several lengths."""
    series = []
    for name, record in records.items():
        points = [(row.ctx, row.mean, row.ci95) for row in record.summary if row.mean is not None and row.ctx]
        if len(points) > 1:
            series.append(_series(name, points))
    if not series:
        return None
    return _by_length("lengths", _of_model("mean over tasks", records), series)


def _by_length(name: str, title: str, series: Sequence[Series]) -> Lines:
    return Lines(name, title, LENGTH, SCORE, tuple(series), log_x=True, y_range=SCORE_RANGE)


def _positions(records: Mapping[str, RunRecord]) -> Lines | None:
    """Loss by position, at the middle of each bucket."""
    series = []
    for name, record in records.items():
        points = [
            (sum(figure.position) / 2, figure.value, figure.ci95)
            for figure in record.figures
            if figure.position is not None and figure.unit == NATS and figure.value is not None
        ]
        if points:
            series.append(_series(name, points))
    if not series:
        return None
    title = _of_model("loss by position", records)
    return Lines("positions", title, "position (tokens)", NATS, tuple(series), log_x=False, y_range=None)


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


def _failures(records: Mapping[str, RunRecord]) -> Bars | None:
    kinds = sorted({kind for record in records.values() for kind in record.failures})
    if not kinds:
        return None
    return Bars(
        name="failures",
        title=_of_model("why answers were wrong", records),
        x_label="samples",
        categories=tuple(kind.replace("_", " ") for kind in kinds),
        groups=tuple(
            (name, tuple(float(one.failures.get(kind, 0)) for kind in kinds)) for name, one in records.items()
        ),
    )


def _differences(comparison: Comparison) -> Lines | None:
    """NEW - BASE by length with interval: of the mean over tasks, or of each task if there is no mean."""
    rows = [row for row in comparison.rows if row.difference is not None and row.unit == "points"]
    means = [row for row in rows if row.task is None]
    points: dict[str, list[tuple[float, float, tuple[float, float] | None]]] = {}
    for row in means or rows:
        if row.difference is not None:
            points.setdefault(row.task or "mean over tasks", []).append((row.ctx, row.difference, row.ci95))
    if not points:
        return None
    series = tuple(_series(name, of_task) for name, of_task in points.items())
    log_x = all(x > 0 for one in series for x in one.x)
    title = f"NEW - BASE{', mean over tasks,' if means else ''} with {comparison.confidence:.0%} interval"
    return Lines("differences", title, LENGTH, "points", series, log_x=log_x, y_range=None)


def _of_model(what: str, records: Mapping[str, RunRecord]) -> str:
    """A title with the model's name for a single run; the names of several are in the legend."""
    return f"{next(iter(records))}: {what}" if len(records) == 1 else what


def _of_suite(chart: Chart, suite: str) -> Chart:
    """`chart` with the suite in its title, as a page may show several."""
    return replace(chart, title=f"{suite}: {chart.title}")
