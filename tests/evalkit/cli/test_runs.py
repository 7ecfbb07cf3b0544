"""`evalkit runs` on folders in every state."""

import json
from pathlib import Path

import pytest

from evalkit.running.folder_lock import FolderLock
from tests.evalkit.run_factory import ERRORED, RunSpec, stop_run, write_run
from tests.support import Evalkit

SCORES = {("vt", 4096): [1.0] * 30 + [0.0] * 10, ("vt", 65536): [0.5] * 40}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "runs"
    write_run(folder / "plan" / "ruler", RunSpec(SCORES, model="./first"))
    write_run(folder / "errors", RunSpec({("vt", 4096): [1.0, ERRORED]}, model="./second"))
    stop_run(write_run(folder / "stopped", RunSpec(SCORES, model="./third")), samples=50)
    stop_run(write_run(folder / "working", RunSpec(SCORES, model="./fourth")), samples=7)
    (write_run(folder / "broken", RunSpec(SCORES)) / "run.json").write_text("[]")
    for name, day in (("plan/ruler", 3), ("errors", 1)):
        record = json.loads((folder / name / "run.json").read_text())
        session = {"number": 1, "started_at": f"2026-05-0{day}T23:59:30Z", "wall_seconds": 45.2, "ended": True}
        (folder / name / "run.json").write_text(json.dumps({**record, "sessions": [session]}))
    return folder


def test_each_state_is_told(runs: Path, evalkit: Evalkit) -> None:
    with FolderLock(runs / "working"):
        listed = evalkit("runs --format json").json()["runs"]
    by_folder = {run["folder"]: run for run in listed}
    assert [run["folder"] for run in listed][:2] == ["runs/plan/ruler", "runs/errors"], "the newest first"
    assert {folder: run["state"] for folder, run in by_folder.items()} == {
        "runs/plan/ruler": "finished",
        "runs/errors": "finished",
        "runs/stopped": "stopped",
        "runs/working": "running",
        "runs/broken": "unreadable",
    }
    first = by_folder["runs/plan/ruler"]
    assert (first["started_at"], first["ended_at"]) == ("2026-05-03T23:59:30Z", "2026-05-04T00:00:15Z")
    assert (first["model"], first["suite"], first["lengths"], first["mean"]) == (
        "./first",
        "ruler",
        [4096, 65536],
        50.0,
    )
    assert (by_folder["runs/errors"]["samples"], by_folder["runs/errors"]["errors"]) == (2, 1)
    assert (by_folder["runs/stopped"]["samples"], by_folder["runs/stopped"]["planned"]) == (50, 80)


def test_it_is_a_table(runs: Path, evalkit: Evalkit) -> None:
    shown = evalkit("runs runs").out
    for cell in ("5 runs", "2026-05-03 23:59", "4,096 to 65,536", "50 of 80", "finished, 1 error", "2 stopped"):
        assert cell in shown, cell
    assert "runs/broken/run.json is not a run record" in shown.replace("\n", "")


def test_a_folder_without_runs_is_named(evalkit: Evalkit) -> None:
    assert evalkit.refuses("runs") == "runs does not exist; name the folder that holds the runs"
    Path("runs").mkdir()
    assert evalkit.refuses("runs") == "runs holds no run: neither run.json nor folders with one"
