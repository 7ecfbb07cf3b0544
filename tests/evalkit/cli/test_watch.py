"""`evalkit watch`: runs at work and stopped ones, several at once, from their files alone."""

import shutil
import sys
from pathlib import Path

import pytest

from evalkit.suite_spec import SUITES
from tests.evalkit.run_factory import RunSpec, stop_run, write_run
from tests.evalkit.scripts import interrupted_waits, sums, write_script
from tests.evalkit.tiny_suite import REGISTERED
from tests.support import Evalkit

SPEC = RunSpec({("vt", 4096): [1.0] * 30 + [0.0] * 10, ("cwe", 4096): [0.5] * 40}, effective_length=4096)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_run(Path("whole"), SPEC)
    stop_run(write_run(Path("part"), SPEC), samples=50)


def row(shown: str, name: str) -> list[str]:
    (line,) = (line for line in shown.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_pipe_gets_progress_and_scores_so_far_once(evalkit: Evalkit) -> None:
    shown = evalkit("watch part").out
    assert shown.startswith("1 run (1 running): 50 of 80 samples\n")
    # 100 s for the 50 samples.
    assert row(shown, "part")[1:5] == ["running", "50 of 80", "-", "30.0"]
    assert "(n=10)" in shown
    assert "effective length" not in shown
    assert sorted(path.name for path in Path("part").iterdir()) == [
        *("manifest.json", "samples.jsonl", "sessions.json", "started.json")
    ]


def test_several_runs_at_once(evalkit: Evalkit) -> None:
    shown = evalkit("watch . --once").out
    assert shown.startswith("2 runs (1 running, 1 finished): 130 of 160 samples\n")
    assert row(shown, "whole")[1:3] == ["finished", "80"]
    assert shown.count("Score (0-100)") == 2
    for name in ("more", "most"):
        shutil.copytree("part", name)
    assert "Score (0-100)" not in evalkit("watch . --once").out
    values = evalkit("watch part --format json").json()
    assert values["runs"][0]["done"] == 50
    assert values["partial"][0]["unfinished"] is True


def test_a_terminal_is_refreshed_until_the_run_ends(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def finish(seconds: float) -> None:
        looks.append(seconds)
        shutil.copytree("whole", "part", dirs_exist_ok=True)

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("evalkit.cli.watch.time.sleep", finish)
    shown = evalkit("watch part --interval 7").out
    assert len(looks) == 1
    assert looks[0] >= 7
    assert "(1 running): 50 of 80 samples" in shown
    assert "(1 finished): 80 of 80 samples" in shown


def test_a_damaged_run_is_a_row_and_a_missing_one_is_refused(evalkit: Evalkit) -> None:
    Path("part/started.json").write_text("{")
    shown = evalkit("watch .").out
    assert "Cannot be read" in shown
    assert "part/started.json" in shown
    assert evalkit.refuses("watch nowhere") == (
        "nowhere does not exist; name the folder of a run, or one that holds runs"
    )


def test_shards_of_one_run_are_shown_together(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    write_script(Path("slow"), {"match": "sum/512/5/42", "text": "47", "wait_seconds": 0.01}, *sums(wrong=[0]))
    line = "run --suite tiny --set samples=8 --model scripted:slow"
    evalkit(f"{line} --shard 1/2 --out shards/a")
    with interrupted_waits(monkeypatch):
        evalkit(f"{line} --shard 2/2 --out shards/b", code=130)
    assert "shards/b (shard 2 of 2)" in evalkit("watch . --once").out
    shown = evalkit("watch shards").out
    assert row(shown, "2 of 2 shards")[2] == "6 of 8"
    assert row(shown, "shards/b (shard 2 of 2)")[2] == "2 of 4"
    assert "83.3" in row(shown, "sum")[1]
    assert evalkit("watch shards --format json").json()["partial"][0]["counts"]["n"] == 6
