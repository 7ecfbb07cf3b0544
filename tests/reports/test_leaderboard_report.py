"""Leaderboards as files: whole outputs, formulas made harmless, and hostile names in every format."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evalkit.analysis.foreign_results import ForeignResult, ForeignRow, read_foreign
from evalkit.analysis.leaderboard import Leaderboard, build_leaderboard
from reports.leaderboard_report import CSV_COLUMNS, leaderboard_report, render_csv
from reports.markdown import render
from reports.page import Page, render_page
from reports.run_charts import board_charts
from tests.evalkit.lm_eval_results import LM_EVAL
from tests.evalkit.run_factory import RunSpec, board_run, make_run, simulate
from tests.reports.hostile_text import VISIBLE_TEXTS
from tests.reports.parsed import Tags, check_markdown


def ruler(model: str, accuracy: float, **changes: object) -> RunSpec:
    rng = np.random.default_rng(int(accuracy * 100))
    cells = {(task, ctx): accuracy for ctx in (4096, 65536) for task in ("vt", "cwe")}
    made = RunSpec(simulate(rng, cells, 50), model=model, weights=model, effective_length=4096)
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of a RunSpec


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    folder = tmp_path_factory.mktemp("runs")
    specs = [
        ruler("hybrid", 0.9),
        ruler("transformer", 0.5, gpu=None),
        ruler("twin", 0.89, prefill_seconds=0.0, peak_bytes=None),
        ruler("hybrid", 0.8, dialect="olmes"),
        RunSpec({("text", 4096): [0.5, 0.7]}, suite="loss", metric="bits_per_byte", model="hybrid", weights="hybrid"),
        RunSpec({("parity:4", 0): [1.0, 0.0]}, suite="track", model="toy", weights="toy", trained=False),
    ]
    runs = [make_run(folder / f"run-{number}", spec) for number, spec in enumerate(specs)]
    return build_leaderboard([board_run(run) for run in runs])


@pytest.fixture
def foreign(tmp_path: Path) -> list[ForeignResult]:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(LM_EVAL))
    summary = tmp_path / "llama" / "synthetic" / "4096" / "pred" / "summary.csv"
    summary.parent.mkdir(parents=True)
    summary.write_text("0,1\nTasks,vt\nScore,6.6\nNulls,0/500\n")
    return [replace(read_foreign(path), path="results.json"), replace(read_foreign(summary), path="summary.csv")]


def test_markdown(board: Leaderboard, foreign: list[ForeignResult], check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/leaderboard.md", render(leaderboard_report(board, foreign)))


def test_csv(board: Leaderboard, foreign: list[ForeignResult], check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/leaderboard.csv", render_csv(board, foreign))


def test_html(board: Leaderboard, foreign: list[ForeignResult], check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/leaderboard.html", render_page(Page(leaderboard_report(board, foreign))))


def spoiled(board: Leaderboard, text: str) -> tuple[Leaderboard, list[ForeignResult]]:
    """`board` and a result of another tool, with `text` in every place for foreign text."""
    boards = tuple(
        replace(
            one,
            columns=tuple(replace(column, suite=text) for column in one.columns),
            protocols=tuple(replace(p, suite=text, dialect=text, corpora=((text, text),)) for p in one.protocols),
            rows=tuple(
                replace(row, model=text, fingerprint=text, costs=replace(row.costs, hardware=text)) for row in one.rows
            ),
        )
        for one in board.boards
    )
    runs = tuple(replace(run, model=text, fingerprint=text, run_id=text, dialect=text) for run in board.runs)
    foreign = ForeignResult(text, text, text, (ForeignRow(text, 4096, text, 1.0, (0.5, 1.5), 3),))
    return Leaderboard(boards, runs), [foreign]


@pytest.mark.parametrize("text", VISIBLE_TEXTS)
def test_hostile_names_are_no_markup_in_html(board: Leaderboard, text: str) -> None:
    page = Tags(render_page(Page(leaderboard_report(*spoiled(board, text)))))
    harmless = Tags(render_page(Page(leaderboard_report(*spoiled(board, "harmless")))))
    assert page.tags == harmless.tags
    assert [tag for tag, _ in page.tags].count("script") == 1, "the one that sorts tables"


@pytest.mark.parametrize("text", VISIBLE_TEXTS)
def test_hostile_names_are_no_markup_in_markdown(board: Leaderboard, text: str) -> None:
    check_markdown(lambda shown: render(leaderboard_report(*spoiled(board, shown))), text)


@pytest.mark.parametrize(
    "text", [*VISIBLE_TEXTS, '=HYPERLINK("http://evil","x")', "+1+1", "-1+1", "@SUM(1)", "\t=1", " =1", 'a,"b']
)
def test_no_cell_of_text_is_a_formula(board: Leaderboard, text: str) -> None:
    rows = list(csv.reader(io.StringIO(render_csv(*spoiled(board, text)))))
    assert {len(row) for row in rows} == {len(CSV_COLUMNS)}
    for row in rows[1:]:
        for value in row:
            assert not value.startswith(("=", "+", "@", "\t", "\r"))
            assert not value.startswith("-") or re.fullmatch(r"-[0-9.e+-]+", value)


def test_a_page_loads_nothing_and_only_sorts(board: Leaderboard) -> None:
    page = render_page(Page(leaderboard_report(board), board_charts(board.boards[0])))
    assert "<svg" in page
    assert page.count("<script") == 1
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page
    assert not re.search(r'\s(src=|href="(?!#))', page)
