"""Scores on text that evalkit generated are marked in the heading of every table and report."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.analysis.comparison import compare
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.gate import gate
from evalkit.analysis.leaderboard import build_leaderboard
from evalkit.analysis.pairing import pair_runs
from evalkit.analysis.policy import parse_policy
from reports.comparison_report import comparison_report
from reports.gate_report import gate_report
from reports.leaderboard_report import leaderboard_report
from reports.report import Report
from reports.run_report import run_report
from tests.evalkit.run_factory import RunSpec, board_run, changed, make_run

SCORES = {("niah_single_2", 4096): [1.0, 0.0, 1.0], ("cwe", 4096): [0.5, 0.5, 1.0]}
LABEL = "GENERATED CORPORA: essays"


def compared(base: StoredRun, new: StoredRun) -> Report:
    return comparison_report(compare(pair_runs(base, new)))


def gated(base: StoredRun, new: StoredRun) -> Report:
    return gate_report(gate([base], [new], parse_policy("rules: {ruler@4096: {max_drop: 50}}", "gate.yaml")))


def board(base: StoredRun, new: StoredRun) -> Report:
    made = leaderboard_report(build_leaderboard([board_run(base), board_run(new)]))
    return replace(made, tables=made.tables[:1])  # the other lists the runs


REPORTS: dict[str, Callable[[StoredRun, StoredRun], Report]] = {
    "run": lambda base, new: run_report(new.record),
    "comparison": compared,
    "gate": gated,
    "leaderboard": board,
}


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("source", ["embedded", "https://example.org/essays.json"])
def test_every_table_is_marked(tmp_path: Path, report: str, source: str) -> None:
    spec = RunSpec(SCORES, corpora={"essays": "essays"}, corpus_source=source)
    base, new = make_run(tmp_path / "base", spec), make_run(tmp_path / "new", changed(spec, SCORES))
    made = REPORTS[report](base, new)
    generated = source == "embedded"
    assert [LABEL in table.title for table in made.tables] == [generated] * len(made.tables)
    if report in ("run", "comparison"):
        assert (LABEL in made.headline) == generated
