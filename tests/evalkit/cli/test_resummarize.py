"""Stored runs get the statistics of this version; what does not follow from their samples stays as it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.running.folder_lock import FolderLock
from model_adapters.reference import folder
from tests.evalkit.run_factory import RunSpec, write_run
from tests.support import Evalkit

HISTORY = folder("hybrid").parent / "history"


def test_old_intervals_are_replaced_and_nothing_else(evalkit: Evalkit, tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "one", RunSpec({("vt", 4096): [1.0] * 5, ("cwe", 4096): [1.0, 0.0]}))
    record = json.loads((run / "run.json").read_text())
    old = {**record, "future_field": {"kept": True}}
    for row in (*old["results"], *old["summary"]):
        row["ci95"] = [100.0, 100.0]
    (run / "run.json").write_text(json.dumps(old))
    evalkit("resummarize", tmp_path / "runs")
    new = json.loads((run / "run.json").read_text())
    low, high = next(row for row in new["results"] if row["task"] == "vt")["ci95"]
    assert (low, high) == (pytest.approx(47.8, abs=0.05), 100)
    assert new["summary"][0]["ci95"][0] < 90
    computed = {"results", "summary", "figures", "verdicts", "warnings"}
    assert {name: new[name] for name in new if name not in computed} == {
        name: old[name] for name in old if name not in computed
    }
    load_run(run)


def test_the_verdicts_of_an_extension_are_made_again(evalkit: Evalkit, tmp_path: Path) -> None:
    shutil.copytree(HISTORY / "hybrid" / "extend", tmp_path / "extend")
    record = json.loads((tmp_path / "extend" / "run.json").read_text())
    wrong = [{**verdict, "outcome": "fail"} for verdict in record["verdicts"]]
    (tmp_path / "extend" / "run.json").write_text(json.dumps({**record, "verdicts": wrong}))
    evalkit("resummarize", tmp_path / "extend")
    assert json.loads((tmp_path / "extend" / "run.json").read_text())["verdicts"] == record["verdicts"]


def test_a_suite_that_needs_more_than_its_files_is_refused(evalkit: Evalkit, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", RunSpec({("sums", 0): [1.0]}, suite="lm-eval"))
    before = (run / "run.json").read_bytes()
    assert "cannot be summarized from its files alone" in evalkit.refuses("resummarize", run)
    assert (run / "run.json").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_no_matter_of_out(evalkit: Evalkit, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", RunSpec({("vt", 4096): [1.0]}))
    (run / ".lock").mkdir()  # which no process, and no superuser, can open as a file
    refusal = evalkit.refuses("resummarize", run)
    assert refusal.startswith(f"cannot write to {run}: ")
    assert refusal.endswith("; make it writable, or name a copy of it")


def test_a_folder_in_use_is_waited_for(evalkit: Evalkit, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", RunSpec({("vt", 4096): [1.0]}))
    with FolderLock(run):
        assert evalkit.refuses("resummarize", run) == f"{run} is in use by another process; wait for it"


def assert_alike(here: Any, there: Any) -> None:
    """Equal JSON but for the last digits of numbers, in which processors differ."""
    if isinstance(there, dict):
        assert here.keys() == there.keys()
        for name in there:
            assert_alike(here[name], there[name])
    elif isinstance(there, list):
        assert len(here) == len(there)
        for one, other in zip(here, there, strict=True):
            assert_alike(one, other)
    else:
        assert type(here) is type(there)
        assert here == (pytest.approx(there, rel=1e-9, abs=1e-12) if isinstance(there, float) else there)


@pytest.mark.parametrize("kind", ["hybrid", "transformer"])
def test_the_committed_history_has_the_statistics_of_this_version(evalkit: Evalkit, kind: str, tmp_path: Path) -> None:
    shutil.copytree(HISTORY / kind / "lengths", tmp_path / "lengths")
    evalkit("resummarize", tmp_path / "lengths")
    here, there = (
        json.loads((folder / "run.json").read_text()) for folder in (tmp_path / "lengths", HISTORY / kind / "lengths")
    )
    assert_alike(here, there)
