"""A whole run with a model that tracks up to 16 updates and gives a constant answer beyond."""

from collections.abc import Callable
from pathlib import Path

from evalkit.records import Counts, Request, RunRecord
from evalkit.running.protocols import Adapter
from model_adapters.scripted import ScriptedAdapter, ScriptedTokenizer
from reports.markdown import render, render_run
from reports.report import Report
from reports.state_tracking import report
from suites.state_tracking import StateTrackingSettings, build
from suites.state_tracking.tasks import TASKS
from tests.evalkit.run_factory import figure_values
from tests.evalkit.runs import run_in
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


def test_what_does_not_fit_is_left_out_and_reported(tmp_path: Path) -> None:
    asked = StateTrackingSettings.of(tasks=("s5_shell",), updates=(4, 64), samples=2, ctx=(1024,))
    record = run_track(tmp_path, asked, ScriptedAdapter(reply))
    four, many = record.results
    assert (four.value, four.unscored) == (100.0, 0)
    assert (many.value, many.unscored) == (None, 2)
    assert figure_values(record) == {"updates_held/s5_shell@1024": 4}
    assert "| unscored |" in render_run(record)
