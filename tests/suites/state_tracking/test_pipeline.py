"""A whole run with a model that tracks up to 16 updates and gives a constant answer beyond."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.records import Counts, Request, RunRecord
from evalkit.running.protocols import Adapter
from evalkit.statistics.rows import result_row
from model_adapters.scripted import ScriptedAdapter, ScriptedTokenizer
from reports.markdown import render, render_run
from reports.report import Report
from reports.state_tracking import report
from suites.state_tracking import StateTrackingSettings, build
from suites.state_tracking.tasks import TASKS
from tests.evalkit.run_factory import figure_values
from tests.evalkit.runs import run_in
from tests.evalkit.sample_records import sample_record
from tests.reports.example_runs import FULL
from tests.suites.numbered_prose import numbered_essays
from tests.suites.state_tracking.simulation import solve

TRACKED_UPDATES = 16


def reply(request: Request) -> str:
    task, updates = request.id.split("/")[0].split(":")
    if int(updates) > TRACKED_UPDATES:
        return " even"
    return " " + solve(task, ScriptedTokenizer().decode(request.token_ids))


def run_track(folder: Path, asked: StateTrackingSettings, adapter: Adapter) -> RunRecord:
    return run_in(folder, build(asked, ScriptedTokenizer(), numbered_essays(500)), adapter)


def test_a_run_reports_how_far_the_state_is_held(tmp_path: Path, check_golden: Callable[[str, str], None]) -> None:
    asked = StateTrackingSettings.of(updates=(4, 16, 32), samples=6, ctx=(0, 2048))
    record = run_track(tmp_path, asked, ScriptedAdapter(reply, batch_sequences=3))
    assert figure_values(record) == {f"updates_held/{task}{where}": 16 for where in ("", "@2048") for task in TASKS}
    assert record.counts == Counts(n=9 * 3 * 6 * 2, errors=0, unscored=0)
    assert set(record.failures) == {"other", "wrong_state"}
    shown = render(Report("track", (), report(record).tables, ()))
    check_golden("state_tracking/report.md", shown)
    assert all(line in (tmp_path / "report.md").read_text(encoding="utf-8") for line in shown.splitlines()[2:])


@pytest.mark.parametrize(("right", "shown"), [(448, "89.6 [86.6, 92.1]"), (450, "90 [87, 92]")])
def test_what_is_just_below_90_is_not_shown_as_90_and_not_held(right: int, shown: str) -> None:
    row = result_row("parity", 0, [sample_record("parity", 0, n, float(n < right)) for n in range(500)], updates=4)
    (table,) = report(replace(FULL, results=(row,), figures=())).tables
    assert table.rows[0][2] == shown


def test_what_does_not_fit_is_left_out_and_reported(tmp_path: Path) -> None:
    asked = StateTrackingSettings.of(tasks=("s5_shell",), updates=(4, 64), samples=2, ctx=(1024,))
    record = run_track(tmp_path, asked, ScriptedAdapter(reply))
    four, many = record.results
    assert (four.value, four.unscored) == (100.0, 0)
    assert (many.value, many.unscored) == (None, 2)
    assert figure_values(record) == {"updates_held/s5_shell@1024": 4}
    assert "| unscored |" in render_run(record)


def test_the_headline_counts_one_as_one() -> None:
    one = StateTrackingSettings.of(tasks=("parity",), updates=(4,), samples=1)
    assert one.headline() == "track: 1 prompt (1 task, 4 updates, 1 sample each)"
    several = StateTrackingSettings.of(tasks=("parity", "counter"), updates=(4, 16), samples=3)
    assert several.headline() == "track: 12 prompts (2 tasks, 4 to 16 updates, 3 samples each)"
