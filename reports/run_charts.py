"""The charts of a run, of a comparison and of a leaderboard."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from evalkit.analysis.compared_runs import ComparedRuns
from evalkit.analysis.comparison import Comparison
from evalkit.analysis.leaderboard import Board
from evalkit.records import ResultRow, RunRecord, SampleRecord
from evalkit.suite_spec import find_hook
from evalkit.views.grids import MEAN, Grid, depth_difference_grid, depth_grid, difference_grid, figure_grid, task_grid
from reports.charts import Bars, Chart, HeatMap, Lines
from reports.comparison_report import comparison_names
from reports.length_chart import LENGTH, SCORE, SCORE_RANGE, Point, by_length, compared_lines, mean_lines, series_of
from reports.plain_text import visible

NATS = "nats per token"
_CHECKPOINT = re.compile(r"(.+)[/@:][^/@:]*\d[^/@:]*")
"""A checkpoint's name, with that of its training run."""


def run_charts(record: RunRecord, samples: Sequence[SampleRecord]) -> list[Chart]:
    """Charts of one run, made by its suite."""
    return list(find_hook(record.suite, "charts")(record, samples))


def charts_of(record: RunRecord, samples: Sequence[SampleRecord]) -> list[Chart]:
    """Those of any suite: means by length, scores by task, updates and depth, loss by position, failures."""
    name = record.model.name
    depths = figure_grid(record.figures)
    has_updates = any(row.updates and row.value is not None for row in record.results)
    charts: list[Chart | None] = [
        mean_lines({name: record}),
        _updates(name, record.results) if has_updates else _task_map("tasks", f"{name}: scores", task_grid(record)),
        _heat_map("depths", f"{name}: needles found", "needle depth", depths)
        if depths.rows
        else _depth_map("depths", f"{name}: needles found", depth_grid(samples)),
        _positions({name: record}),
        _failures({name: record}),
    ]
    return [chart for chart in charts if chart is not None]


def comparison_charts(compared: ComparedRuns) -> list[Chart]:
    """Charts of compared runs: means by length, differences by length, task and depth, losses, failures."""
    names = comparison_names(compared.comparisons)
    records = dict(zip(names, (run.record for run in compared.runs), strict=True))
    charts: list[Chart | None] = [
        compared_lines(compared.comparisons, names, records),
        _differences(compared.comparisons, names),
        *(
            _task_map("task_differences", f"{name} - {names[0]} by task", difference_grid(one), is_difference=True)
            for name, one in zip(names[1:], compared.comparisons, strict=True)
        ),
        *(
            _depth_map("depth_differences", f"{name} - {names[0]}, needles found", grid, is_difference=True)
            for name, grid in zip(names[1:], map(depth_difference_grid, compared.pairings), strict=False)
        ),
        _positions(records),
        _failures(records),
    ]
    suite = compared.comparisons[0].suite
    return _numbered([_of_suite(chart, suite) for chart in charts if chart is not None])


def within_suite(chart: Chart, suite: str) -> Chart:
    """`chart` with links to samples of `suite` alone, for a page of several suites."""
    prefix = urlencode({"suite": visible(suite)})
    match chart:
        case HeatMap():
            return replace(chart, links=tuple(tuple(f"{prefix}&{link}" for link in row) for row in chart.links))
        case Bars():
            return replace(chart, links=tuple(f"{prefix}&{link}" for link in chart.links))
        case Lines():
            return chart


def board_charts(board: Board) -> list[Chart]:
    """Scores by length, for each suite with several lengths; and over the tokens of each training run."""
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
                lacking = {ctx for ctx, cell in points if cell is not None and ctx is not None and not cell.complete}
                if known:
                    label = f"{row.model} ({row.fingerprint.removeprefix('sha256:')[:8]})"
                    series.append(series_of(label, known, lacking))
            if series:
                name = "".join(letter if letter.isalnum() else "_" for letter in suite)
                charts.append(by_length(f"lengths_{name}", f"{suite}: mean by length", series))
    training = _training(board)
    return charts if training is None else [*charts, training]


def _training(board: Board) -> Lines | None:
    """The ranking column over training tokens, one line per training run of which several checkpoints are known.

    Checkpoints are of one training run if their names are alike up to a last part with a number, as in `run/step-10`.
    """
    place = next((at for at, column in enumerate(board.columns) if column.label == board.ranked_by), None)
    if place is None:
        return None
    points: dict[str, dict[float, Point]] = {}
    lacking: dict[str, set[float]] = {}
    for row in board.rows:
        cell, named = row.cells[place], _CHECKPOINT.fullmatch(row.model)
        if cell is not None and row.tokens_seen and named:
            points.setdefault(named[1], {})[row.tokens_seen] = (row.tokens_seen, cell.value, cell.ci95)
            if not cell.complete:
                lacking.setdefault(named[1], set()).add(row.tokens_seen)
    series = [
        series_of(name, list(found.values()), lacking.get(name, ())) for name, found in points.items() if len(found) > 1
    ]
    if not series:
        return None
    unit = board.columns[place].unit
    title, y_range = f"{board.ranked_by} over training", SCORE_RANGE if unit == "points" else None
    return Lines("training", title, "training tokens", unit, tuple(series), log_x=True, y_range=y_range)


def _numbered(charts: Sequence[Chart]) -> list[Chart]:
    """The charts, with a number after a name that was given before."""
    names = [chart.name for chart in charts]
    seen = [names[:place].count(name) + 1 for place, name in enumerate(names)]
    return [
        replace(chart, name=f"{chart.name}_{number}") if number > 1 else chart
        for chart, number in zip(charts, seen, strict=True)
    ]


def _task_map(name: str, title: str, grid: Grid, *, is_difference: bool = False) -> HeatMap | None:
    """Heat map of tasks by length, each cell a link to its samples; None for a single cell."""
    if len(grid.rows) == len(grid.columns) == 1:
        return None
    rows = [{} if row == MEAN else {"task": visible(row)} for row in grid.rows]
    return _heat_map(name, title, "task", grid, rows, is_difference=is_difference)


def _depth_map(name: str, title: str, grid: Grid, *, is_difference: bool = False) -> HeatMap | None:
    """Heat map of needle depths by length, each cell a link to its samples."""
    rows = [{"depth": row} for row in grid.rows]
    return _heat_map(name, title, "needle depth", grid, rows, is_difference=is_difference)


def _heat_map(
    name: str,
    title: str,
    y_label: str,
    grid: Grid,
    filters: Sequence[Mapping[str, str]] = (),
    *,
    is_difference: bool = False,
) -> HeatMap | None:
    """A heat map; `filters` are what the links of each row filter by, besides the length."""
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
        links=tuple(tuple(urlencode({**row, "length": ctx}) for ctx in grid.columns) for row in filters),
        marks=grid.marks,
    )


def _updates(model: str, rows: Sequence[ResultRow]) -> Lines:
    """Accuracy by number of updates, one line per task and context."""
    lines: dict[str, list[Point]] = {}
    for row in rows:
        if row.updates is not None and row.value is not None:
            name = f"{row.task} at {row.ctx:,}" if row.ctx else row.task
            lines.setdefault(name, []).append((row.updates, row.value, row.ci95))
    series = tuple(series_of(name, points) for name, points in lines.items())
    title = f"{model}: accuracy against state updates"
    return Lines("updates", title, "updates", SCORE, series, log_x=True, y_range=SCORE_RANGE)


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
            series.append(series_of(name, points))
    if not series:
        return None
    title = _of_model("loss by position", records)
    return Lines("positions", title, "position (tokens)", NATS, tuple(series), log_x=False, y_range=None)


def _failures(records: Mapping[str, RunRecord]) -> Bars | None:
    kinds = sorted({kind for record in records.values() for kind in record.failures})
    if not kinds:
        return None
    return Bars(
        name="failures",
        title=_of_model("why answers were wrong", records),
        x_label="samples",
        categories=tuple(kind.replace("_", " ") for kind in kinds),
        links=tuple(urlencode({"failure": visible(kind)}) for kind in kinds),
        groups=tuple(
            (name, tuple(float(one.failures.get(kind, 0)) for kind in kinds)) for name, one in records.items()
        ),
    )


def _differences(comparisons: Sequence[Comparison], names: Sequence[str]) -> Lines | None:
    """Difference from BASE by length with interval: of the means, or of each task of two runs without means."""
    has_means = any(row.task is None for one in comparisons for row in one.rows)
    if not has_means and len(comparisons) > 1:
        return None
    points: dict[str, list[Point]] = {}
    for comparison, name in zip(comparisons, names[1:], strict=True):
        for row in comparison.rows:
            if row.difference is not None and row.unit == "points" and (row.task is None) == has_means:
                points.setdefault(row.task or name, []).append((row.ctx, row.difference, row.ci95))
    # One length without a context has its figures in the table.
    if not any(x for found in points.values() for x, _, _ in found):
        return None
    # In the colours that the models have in the chart of their scores.
    first = 1 if has_means else 0
    series = tuple(
        replace(series_of(name, found), colour=place) for place, (name, found) in enumerate(points.items(), start=first)
    )
    compared_with = f"{names[1]} - {names[0]}" if len(comparisons) == 1 else f"difference from {names[0]}"
    title = f"{compared_with}{', mean over tasks,' if has_means else ''} with {comparisons[0].confidence:.0%} interval"
    log_x = all(x > 0 for one in series for x in one.x)
    return Lines("differences", title, LENGTH, "points", series, log_x=log_x, y_range=None)


def _of_model(what: str, records: Mapping[str, RunRecord]) -> str:
    """A title with the model's name for a single run; the names of several are in the legend."""
    return f"{next(iter(records))}: {what}" if len(records) == 1 else what


def _of_suite(chart: Chart, suite: str) -> Chart:
    """`chart` with the suite in its title, as a page may show several."""
    return replace(chart, title=f"{suite}: {chart.title}")
