"""Which charts there are, what stands in them, and that their files are the same bytes each time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.comparison import compare
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.leaderboard import build_leaderboard
from evalkit.analysis.pairing import pair_runs
from evalkit.analysis.unpaired_comparison import compare_unpaired
from evalkit.records import Figure, ResultRow
from reports.charts import Bars, Chart, HeatMap, Lines
from reports.pictures import write_charts
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
    assert list(charts) == ["tasks", "depths", "lengths", "failures"]
    tasks, lengths, failures = charts["tasks"], charts["lengths"], charts["failures"]
    assert isinstance(tasks, HeatMap)
    assert (tasks.rows, tasks.columns, tasks.values[0]) == (("vt", "cwe"), ("4,096", "65,536"), (62.5, 62.5))
    assert isinstance(lengths, Lines)
    assert (lengths.series[0].x, lengths.series[0].y) == ((4096, 65536), (62.5, 62.5))
    assert isinstance(failures, Bars)
    assert failures.categories == ("partial", "wrong needle")
    assert failures.groups[0][1] == (4.0, 4.0)


def test_accuracy_against_updates_and_loss_by_position(runs: tuple[StoredRun, StoredRun]) -> None:
    rows = [ResultRow(f"parity:{n}", 0, "exact_match", 100.0 / n, 5, (0.0, 100.0), updates=n) for n in (16, 4)]
    figures = [Figure(f"position_nats/{n}-{n + 512}", 2.0, "nats", None, 3) for n in (512, 0)]
    charts = charts_of(runs[0], results=tuple(rows), summary=(), figures=tuple(figures), failures={})
    assert list(charts) == ["updates", "depths", "positions"]
    updates, positions = charts["updates"], charts["positions"]
    assert isinstance(updates, Lines)
    assert [(series.name, series.x) for series in updates.series] == [("parity", (4, 16))]
    assert isinstance(positions, Lines)
    assert positions.series[0].x == (256.0, 768.0)


def test_charts_of_a_comparison(runs: tuple[StoredRun, StoredRun]) -> None:
    pairing = pair_runs(*runs)
    charts = {chart.name: chart for chart in comparison_charts(compare(pairing), pairing)}
    assert list(charts) == ["differences", "task_differences", "depth_differences", "lengths", "failures"]
    differences, tasks = charts["differences"], charts["task_differences"]
    assert isinstance(differences, Lines)
    assert [series.name for series in differences.series] == ["vt", "cwe", "mean of the tasks"]
    assert differences.series[0].y == (-25.0, -25.0)
    assert isinstance(tasks, HeatMap)
    assert tasks.is_difference
    unpaired = comparison_charts(compare_unpaired(*runs), None)
    assert [chart.name for chart in unpaired] == ["differences"]


def test_charts_of_a_leaderboard(runs: tuple[StoredRun, StoredRun]) -> None:
    (board,) = build_leaderboard([board_run(run) for run in runs]).boards
    (lengths,) = board_charts(board)
    assert isinstance(lengths, Lines)
    assert len(lengths.series) == 2


def test_files_are_the_same_bytes_each_time_and_hold_no_markup(
    runs: tuple[StoredRun, StoredRun], tmp_path: Path
) -> None:
    hostile = "<script>$\\frac{1}{0}$ \x1b[31m \u202e _ 漢"
    model = replace(runs[0].record.model, path=hostile)
    results = tuple(replace(row, task=hostile + row.task) for row in runs[0].record.results)
    charts = list(charts_of(runs[0], model=model, results=results).values())
    first = write_charts(charts, tmp_path / "one", "ruler_")
    second = write_charts(charts, tmp_path / "two", "ruler_")
    assert [file.name for file in first[:2]] == ["ruler_tasks.png", "ruler_tasks.svg"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    for file in first:
        if file.suffix == ".svg":
            assert "<script>" not in file.read_text()
