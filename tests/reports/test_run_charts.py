"""Which charts a run has, and what they show."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.compared_runs import compare_with_base
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.leaderboard import build_leaderboard
from evalkit.records import Figure, ResultRow
from reports.charts import Bars, Chart, HeatMap, Lines
from reports.drawing import draw
from reports.run_charts import board_charts, comparison_charts, run_charts
from tests.evalkit.run_factory import RunSpec, board_run, changed, make_run

SPEC = RunSpec({(task, ctx): [1.0, 1.0, 0.0, 0.5] for task in ("vt", "cwe") for ctx in (4096, 65536)})
LOWER = changed(SPEC, {cell: [1.0, 0.0, 0.0, 0.5] for cell in SPEC.scores})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredRun, StoredRun]:
    folder = tmp_path_factory.mktemp("runs")
    return make_run(folder / "base", SPEC), make_run(folder / "new", LOWER)


def charts_of(run: StoredRun, **changes: Any) -> dict[str, Chart]:
    record = replace(run.record, **changes)
    return {chart.name: chart for chart in run_charts(record, list(run.samples.values()))}


def test_charts_of_a_run(runs: tuple[StoredRun, StoredRun]) -> None:
    charts = charts_of(runs[0])
    assert list(charts) == ["lengths", "tasks", "depths", "failures"]
    tasks, lengths, failures = charts["tasks"], charts["lengths"], charts["failures"]
    assert isinstance(tasks, HeatMap)
    assert (tasks.rows, tasks.columns) == (("mean over tasks", "vt", "cwe"), ("4,096", "65,536"))
    assert tasks.values == ((62.5, 62.5),) * 3
    assert tasks.links[2] == ("task=cwe&length=4096", "task=cwe&length=65536")
    assert isinstance(lengths, Lines)
    assert (lengths.series[0].x, lengths.series[0].y) == ((4096, 65536), (62.5, 62.5))
    assert isinstance(failures, Bars)
    assert failures.categories == ("partial", "wrong needle")
    assert failures.groups[0][1] == (4.0, 4.0)


def test_accuracy_against_updates_and_loss_by_position(runs: tuple[StoredRun, StoredRun]) -> None:
    rows = [ResultRow("parity", 0, "exact_match", 100.0 / n, 5, (0.0, 100.0), updates=n) for n in (16, 4)]
    figures = [Figure("position_nats", 2.0, "nats per token", None, 3, position=(n, n + 512)) for n in (512, 0)]
    charts = charts_of(runs[0], results=tuple(rows), summary=(), figures=tuple(figures), failures={})
    assert list(charts) == ["updates", "depths", "positions"]
    updates, positions = charts["updates"], charts["positions"]
    assert isinstance(updates, Lines)
    assert [(series.name, series.x) for series in updates.series] == [("parity", (4, 16))]
    assert isinstance(positions, Lines)
    assert positions.series[0].x == (256.0, 768.0)


def test_what_was_never_scored_can_be_drawn(runs: tuple[StoredRun, StoredRun]) -> None:
    rows = tuple(ResultRow(f"parity:{n}", 0, "exact_match", None, 0, None, updates=n) for n in (4, 16))
    charts = run_charts(replace(runs[0].record, results=rows, summary=(), failures={}), [])
    assert [chart.name for chart in charts] == ["tasks"]
    assert [text.text for text in draw(charts[0], "chart").iter("text")].count("–") == 2


def test_charts_of_a_comparison(runs: tuple[StoredRun, StoredRun]) -> None:
    compared = compare_with_base(runs[0], runs[1:])
    charts = {chart.name: chart for chart in comparison_charts(compared)}
    assert list(charts) == ["lengths", "differences", "task_differences", "depth_differences", "failures"]
    differences, tasks = charts["differences"], charts["task_differences"]
    assert isinstance(differences, Lines)
    assert [(series.name, series.y) for series in differences.series] == [("new", (-25.0, -25.0))]
    assert "new - base, mean over tasks" in differences.title
    assert isinstance(tasks, HeatMap)
    assert tasks.is_difference
    assert tasks.links[0][0] == "length=4096", "the cell of a mean leads to all tasks"
    unpaired = comparison_charts(compare_with_base(runs[0], runs[1:], unpaired=True))
    assert [chart.name for chart in unpaired] == ["lengths", "differences", "task_differences", "failures"]
    assert all(chart.title.startswith("ruler: ") for chart in (*charts.values(), *unpaired))


def test_differences_of_tasks_are_shown_if_there_is_no_mean(runs: tuple[StoredRun, StoredRun]) -> None:
    compared = compare_with_base(runs[0], runs[1:])
    rows = tuple(row for row in compared.comparisons[0].rows if row.task)
    charts = comparison_charts(replace(compared, comparisons=(replace(compared.comparisons[0], rows=rows),)))
    (chart,) = (one for one in charts if one.name == "differences")
    assert isinstance(chart, Lines)
    assert [series.name for series in chart.series] == ["vt", "cwe"]


def test_several_runs_share_one_picture_and_have_a_map_each(runs: tuple[StoredRun, StoredRun], tmp_path: Path) -> None:
    third = make_run(tmp_path / "third", changed(SPEC, SPEC.scores, model="./third", weights="third"))
    charts = {chart.name: chart for chart in comparison_charts(compare_with_base(runs[0], [runs[1], third]))}
    assert list(charts) == [
        "lengths",
        "differences",
        "task_differences",
        "task_differences_2",
        "depth_differences",
        "depth_differences_2",
        "failures",
    ]
    lengths, second = charts["lengths"], charts["task_differences_2"]
    assert isinstance(lengths, Lines)
    assert [series.name for series in lengths.series] == ["base", "new", "third"]
    assert isinstance(second, HeatMap)
    assert (second.title, second.values[0]) == ("ruler: third - base by task", (0.0, 0.0))


def test_an_extension_has_its_own_depth_bins(runs: tuple[StoredRun, StoredRun]) -> None:
    figures = [Figure("grid", value, "points", None, 3, ctx=ctx, depth=depth) for ctx, depth, value in (
        (8192, (0.5, 1.0), 50.0), (4096, (0.5, 1.0), 100.0), (4096, (0.0, 0.5), None))]  # fmt: skip
    depths = charts_of(runs[0], figures=tuple(figures))["depths"]
    assert isinstance(depths, HeatMap)
    assert (depths.rows, depths.columns) == (("0-0.5", "0.5-1"), ("4,096", "8,192"))
    assert (depths.values, depths.counts) == (((None, None), (100.0, 50.0)), ((3, 0), (3, 3)))


def test_one_task_without_context_needs_no_heat_map(tmp_path: Path) -> None:
    run = make_run(tmp_path, RunSpec({("arc", 0): [1.0, 0.0]}))
    assert [chart.name for chart in run_charts(run.record, [])] == ["failures"]


def test_charts_of_a_leaderboard(runs: tuple[StoredRun, StoredRun]) -> None:
    (board,) = build_leaderboard([board_run(run) for run in runs]).boards
    (lengths,) = board_charts(board)
    assert isinstance(lengths, Lines)
    fingerprints = [run.record.model.fingerprint.removeprefix("sha256:")[:8] for run in runs]
    assert {series.name[-9:-1] for series in lengths.series} == set(fingerprints)


def test_incomplete_values_of_a_leaderboard_are_marked(runs: tuple[StoredRun, StoredRun]) -> None:
    (board,) = build_leaderboard([board_run(run) for run in runs]).boards
    first, second = board.rows
    cells = [
        cell and replace(cell, complete=column.ctx != 4096)
        for column, cell in zip(board.columns, first.cells, strict=True)
    ]
    (lengths,) = board_charts(replace(board, rows=(replace(first, cells=tuple(cells)), second)))
    assert isinstance(lengths, Lines)
    assert [series.incomplete for series in lengths.series] == [(True, False), ()]
    svg = draw(lengths, "chart")
    marked = [
        mark
        for mark in svg.iter()
        if any((title.text or "").endswith(", incomplete") for title in mark.findall("title"))
    ]
    assert [(mark.tag, mark.get("fill")) for mark in marked] == [("circle", "none")]
    assert "score (0-100), hollow: incomplete" in [text.text for text in svg.iter("text")]


def test_incomplete_means_of_runs_are_marked_too(runs: tuple[StoredRun, StoredRun]) -> None:
    base, new = (
        replace(
            run,
            record=replace(
                run.record,
                summary=tuple(replace(row, complete=row.ctx not in lacking) for row in run.record.summary),
            ),
        )
        for run, lacking in zip(runs, ([65536], []), strict=True)
    )
    alone = charts_of(base)["lengths"]
    together = comparison_charts(compare_with_base(base, [new]))[0]
    assert isinstance(alone, Lines)
    assert isinstance(together, Lines)
    assert [series.incomplete for series in (*alone.series, *together.series)] == [(False, True), (False, True), ()]


def test_a_mean_over_fewer_samples_than_the_runs_is_incomplete(tmp_path: Path) -> None:
    shorter = {cell: scores[: 4 if cell[1] == 4096 else 2] for cell, scores in SPEC.scores.items()}
    runs = [make_run(tmp_path / name, changed(SPEC, scores)) for name, scores in (("a", SPEC.scores), ("b", shorter))]
    runs = [
        replace(
            run, record=replace(run.record, summary=tuple(replace(row, complete=True) for row in run.record.summary))
        )
        for run in runs
    ]
    lines = comparison_charts(compare_with_base(runs[0], runs[1:]))[0]
    assert isinstance(lines, Lines)
    assert lines.series[0].y == (62.5, 100.0)
    assert [series.incomplete for series in lines.series] == [(False, True), ()]


def test_checkpoints_of_one_training_run_are_a_line_over_its_tokens(tmp_path: Path) -> None:
    spec = RunSpec({(task, 4096): [1.0, 0.0] for task in ("vt", "cwe")})
    checkpoints = [("runs/a/step-1", 1_000), ("runs/a/step-2", 2_000), ("runs/b/step-1", 1_000), ("other", 3_000)]
    made = [
        make_run(
            tmp_path / str(tokens) / name, changed(spec, spec.scores, model=name, weights=name, tokens_seen=tokens)
        )
        for name, tokens in checkpoints
    ]
    (board,) = build_leaderboard([board_run(run) for run in made]).boards
    (training,) = board_charts(board)
    assert isinstance(training, Lines)
    assert training.title == "ruler@4096 over training"
    assert [(series.name, series.x) for series in training.series] == [("runs/a", (1_000, 2_000))]
    lacking = [
        replace(row, cells=tuple(cell and replace(cell, complete=row.tokens_seen != 2_000) for cell in row.cells))
        for row in board.rows
    ]
    (marked,) = board_charts(replace(board, rows=tuple(lacking)))
    assert isinstance(marked, Lines)
    assert marked.series[0].incomplete == (False, True)
