"""Whole comparisons in every format, and hostile text in each of their fields."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from evalkit.analysis.compared_runs import compare_with_base
from evalkit.analysis.comparison import Comparison, compare
from evalkit.analysis.pairing import pair_runs
from evalkit.analysis.unpaired_comparison import compare_unpaired
from evalkit.records import Figure
from evalkit.records.codec import to_json
from reports import markdown, terminal
from reports.charts import Lines
from reports.comparison_report import comparison_report, probability, signed
from reports.run_charts import comparison_charts
from tests.evalkit.run_factory import RunSpec, changed, make_run, simulate
from tests.reports.hostile_text import VISIBLE_TEXTS
from tests.reports.parsed import check_markdown

TASKS = ("niah_single_1", "vt", "qa_1")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A pair of runs with a real drop at 65,536 and none at 4,096."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(7)
    base = RunSpec(
        simulate(rng, {(task, ctx): 0.9 for ctx in (4096, 65536) for task in TASKS}, 60),
        figures=(Figure("wavg_increasing", 90.25, "points"),),
        effective_length=65536,
    )
    scores = {
        cell: [0.0 if cell[1] == 65536 and rng.random() < 0.3 else score for score in scores]
        for cell, scores in base.scores.items()
    }
    scores["vt", 4096] = [0.5 if index in (3, 9) else score for index, score in enumerate(scores["vt", 4096])]
    figures = (Figure("wavg_increasing", 71.5, "points"),)
    new = changed(base, scores, prefill_seconds=0.8, figures=figures, effective_length=4096)
    compared = compare(pair_runs(make_run(folder / "base", base), make_run(folder / "new", new)))
    return replace(
        compared,
        base=replace(compared.base, folder="runs/base"),
        new=replace(compared.new, folder="runs/new"),
    )


def test_markdown(comparison: Comparison, check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/comparison.md", markdown.render(comparison_report(comparison, flips=3)))


def test_terminal(comparison: Comparison, check_golden: Callable[[str, str], None]) -> None:
    console = Console(width=160, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as capture:
        terminal.print_report(console, comparison_report(comparison, flips=3))
    check_golden("reports/comparison.txt", capture.get())


def test_unpaired(tmp_path: Path, check_golden: Callable[[str, str], None]) -> None:
    rng = np.random.default_rng(1)
    base = RunSpec(simulate(rng, {("vt", 4096): 0.9, ("qa_1", 4096): 0.6}, 50))
    new = changed(base, simulate(rng, {("vt", 4096): 0.5, ("qa_1", 4096): 0.6}, 40), dialect="olmes", seed=1)
    compared = compare_unpaired(make_run(tmp_path / "base", base), make_run(tmp_path / "new", new))
    check_golden("reports/comparison_unpaired.md", markdown.render(comparison_report(compared)))


def test_json_holds_all_of_it(comparison: Comparison) -> None:
    data = json.loads(to_json(comparison))
    assert [row["task"] for row in data["rows"][:4]] == [*TASKS, None]
    assert len(data["flips"]) == len(comparison.flips)


@pytest.mark.parametrize("text", VISIBLE_TEXTS)
def test_hostile_text_stays_text(comparison: Comparison, text: str) -> None:
    def with_text(text: str) -> str:
        model = replace(comparison.base.model, path=text, family=text, dtype=text, fingerprint=text)
        run = replace(comparison.base, run_id=text, folder=text, model=model)
        spoiled = replace(
            comparison,
            suite=text,
            dialect=text,
            base=run,
            new=run,
            rows=tuple(replace(row, task=text) for row in comparison.rows),
            flips=tuple(replace(flip, id=text, task=text) for flip in comparison.flips),
            costs=tuple(replace(cost, name=text) for cost in comparison.costs),
            figures=tuple(replace(figure, name=text) for figure in comparison.figures),
            notes=(text,),
        )
        return markdown.render(comparison_report(spoiled))

    check_markdown(with_text, text)
    assert "<script" not in MarkdownIt().render(with_text(text))


def test_an_interval_without_zero_beside_no_verdict_is_explained(comparison: Comparison) -> None:
    rows = [replace(comparison.rows[0], ci95=(0.2, 0.9), change="~"), *comparison.rows[1:]]
    tables = comparison_report(replace(comparison, rows=tuple(rows))).tables
    (tasks,) = (table for table in tables if table.title.startswith("Tasks at 4,096"))
    assert [row[4] for row in tasks.rows] == ["~ (only before correction)", "~", "~"]


def test_a_run_that_lacks_samples_stands_below_the_mean_it_was_compared_with(tmp_path: Path) -> None:
    """A mean over two tasks beside BASE's over three would contradict the difference."""
    scores = {("cwe", ctx): [0.0] * 4 for ctx in (4096, 8192)} | {
        (task, ctx): [1.0] * 4 for task in ("vt", "fwe") for ctx in (4096, 8192)
    }
    base = RunSpec(scores)
    part = changed(base, {cell: of for cell, of in scores.items() if cell != ("cwe", 8192)}, model="part")
    others = [part, changed(base, scores, model="whole")]
    runs = [make_run(tmp_path / str(place), spec) for place, spec in enumerate((base, *others))]
    compared = compare_with_base(runs[0], runs[1:])
    report = comparison_report(*compared.comparisons)
    assert [row[1:3] for row in report.tables[0].rows if row[0] == "8,192"] == [
        ("base (samples of part)", "100.0"),
        ("part", "100.0"),
        ("base", "66.7"),
        ("whole", "66.7"),
    ]
    assert [row[1] for row in report.tables[0].rows if row[0] == "4,096"] == ["base", "part", "whole"]
    for lines in (report.bars, comparison_charts(compared)[0]):
        assert isinstance(lines, Lines)
        assert {one.name: one.x for one in lines.series} == {
            "base": (4096, 8192),
            "whole": (4096, 8192),
            **({"part": (4096,)} if lines is report.bars else {}),
        }


def test_the_chart_shows_the_means_that_were_compared(tmp_path: Path) -> None:
    scores = {(task, ctx): [value] * 4 for task, value in (("vt", 1.0), ("cwe", 0.0)) for ctx in (4096, 8192)}
    base = RunSpec(scores)
    new = changed(base, {cell: of for cell, of in scores.items() if cell[0] == "vt"})
    compared = compare_with_base(make_run(tmp_path / "base", base), [make_run(tmp_path / "new", new)])
    chart = comparison_charts(compared)[0]
    assert isinstance(chart, Lines)
    assert [one.y for one in chart.series] == [(100.0, 100.0)] * 2
    assert chart.series[0].low == (100.0, 100.0), "the interval of BASE's mean over both tasks is not that of one"
    assert chart.series[1].low[0] < 50


def test_small_figures() -> None:
    assert [probability(p) for p in (None, 0.00001, 0.0312, 0.5)] == ["-", "< 0.0001", "0.0312", "0.50"]
    assert signed(-0.02, (-0.03, -0.01), "bits per byte") == "-0.0200 [-0.0300, -0.0100]"
    assert signed(0.0, (0.0, -0.0), "points") == "+0.0 [+0.0, +0.0]"
    assert signed(None, None, "points") == "-"


def test_forced_positions_are_in_the_title_of_every_table(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0, 0.0, 1.0]})
    forced = changed(base, {("vt", 4096): [1.0, 1.0, 0.0]}, override="ntk:factor=4")
    compared = compare(pair_runs(make_run(tmp_path / "base", base), make_run(tmp_path / "new", forced)))
    report = comparison_report(compared)
    assert report.headline.endswith("[CONTROL EXPERIMENT: positions forced to ntk:factor=4]")
    assert len(report.tables) > 1
    for table in report.tables:
        assert table.title.endswith("CONTROL EXPERIMENT: new with positions forced to ntk:factor=4")
