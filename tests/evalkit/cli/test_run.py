"""`evalkit run`: a whole plan on scripted models, stopped and gone on with, and one suite by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.running.plan import shipped_plans
from evalkit.running.store import read_run
from evalkit.suite_spec import SUITES
from tests.evalkit.cli.test_compare import run_command
from tests.evalkit.scripts import asked, sums, write_script
from tests.evalkit.tiny_suite import REGISTERED, TinySuite

PLAN = """
models: ["scripted:weak", "scripted:strong"]
suites: {tiny: {samples: 4}, track: {tasks: [parity], updates: [4, 8], samples: 2, shots: 1}}
reports:
  - {report: compare, base: "scripted:strong", new: "scripted:weak", out: comparison.md}
  - {report: compare, base: "scripted:strong", new: "scripted:weak", out: comparison.html}
  - {report: leaderboard, out: LEADERBOARD.md}
"""
GATE = '  - {report: gate, base: "scripted:strong", new: "scripted:weak", policy: gate.yaml}\n'
PARITY = {"match": "parity:*", "text": "even"}


@pytest.fixture(autouse=True)
def plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    write_script(Path("strong"), PARITY, *sums(), log="asked")
    write_script(Path("weak"), PARITY, *sums(wrong=range(0, 40, 2)), log="asked")
    Path("plan.yaml").write_text(PLAN)


def number_asked() -> int:
    return len(asked(Path("asked")))


def test_a_plan_ends_in_its_reports_and_is_not_run_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert "run 4 of 4: scripted:strong on track" in capsys.readouterr().err
    assert {path.name for path in Path("runs/plan").iterdir()} == {
        *("scripted-weak", "scripted-strong", "comparison.md", "comparison.html", "LEADERBOARD.md")
    }
    assert number_asked() == 16
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert capsys.readouterr().err.count("finished before: runs/plan/scripted-") == 4
    assert number_asked() == 16


def test_every_run_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(Path("weak"), {"match": "sum/512/0/42", "wait_seconds": 0.3}, {"match": "*"})
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    slow, quick = (read_run(Path(f"runs/plan/scripted-{model}/tiny")).timing for model in ("weak", "strong"))
    assert slow["wall_seconds"] > 0.3
    # Not the process's: the first run alone took longer than from the start of the second to its first prompt.
    track = read_run(Path("runs/plan/scripted-weak/track")).timing
    assert track["first_prompt_seconds"] is not None
    assert track["first_prompt_seconds"] < slow["wall_seconds"] + track["wall_seconds"] - 0.3
    assert quick["first_prompt_seconds"] is not None


def test_a_plan_that_asks_for_more_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    Path("plan.yaml").write_text(PLAN.replace("samples: 4", "samples: 6"))
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert number_asked() == 20
    assert read_run(Path("runs/plan/scripted-weak/tiny")).counts["n"] == 6


def test_a_plan_that_asks_for_less_keeps_the_old_run_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    Path("plan.yaml").write_text(PLAN.replace("samples: 4", "samples: 3"))
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert "the old run is kept as runs/plan/superseded/scripted-weak-tiny" in capsys.readouterr().err
    assert read_run(Path("runs/plan/scripted-weak/tiny")).counts["n"] == 3
    assert read_run(Path("runs/plan/superseded/scripted-weak-tiny")).counts["n"] == 4


def test_weights_that_were_overwritten_are_run_and_judged_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nightly case: one folder, `checkpoint-latest`, holds other weights every time."""
    Path("gate.yaml").write_text("rules: {tiny: {min: 60}}")
    Path("plan.yaml").write_text(PLAN + GATE)
    write_script(Path("weak"), PARITY, *sums())
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    write_script(Path("weak"), PARITY, *sums(wrong=range(3)))
    capsys.readouterr()
    assert run_command(monkeypatch, "run", "plan.yaml") == 1
    notes = capsys.readouterr().err
    assert "fingerprint: sha256:" in notes
    assert "the old run is kept as runs/plan/superseded/scripted-weak-tiny" in notes
    assert "finished before: runs/plan/scripted-strong/tiny" in notes
    assert read_run(Path("runs/plan/scripted-weak/tiny")).summary[0].mean == 25.0
    assert load_run(Path("runs/plan/superseded/scripted-weak-tiny")).record.summary[0].mean == 100.0


def test_other_software_and_damage_are_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    file = Path("runs/plan/scripted-weak/tiny/run.json")
    record = json.loads(file.read_text())
    record["environment"]["libraries"]["torch"] = "1.0"
    file.write_text(json.dumps(record))
    damaged = Path("runs/plan/scripted-strong/tiny/run.json")
    damaged.write_text(damaged.read_text().replace('"n": 4', '"n": 5'))
    capsys.readouterr()
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    notes = capsys.readouterr().err
    assert "it was made with torch 1.0 -> " in notes
    assert "run.json disagrees with its own samples.jsonl" in notes
    assert notes.count("the old run is kept as runs/plan/superseded/") == 2
    assert number_asked() == 24


def test_a_stopped_plan_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: float) -> Any:
        raise KeyboardInterrupt

    write_script(Path("strong"), PARITY, {"match": "sum/512/2/42", "text": "44", "wait_seconds": 0.01}, *sums())
    with monkeypatch.context() as stopped:
        stopped.setattr("model_adapters.script.sleep", stop)
        assert run_command(monkeypatch, "run", "plan.yaml", "--out", "my runs") == 130
    hint = capsys.readouterr().err.splitlines()[-1]
    assert hint == "stopped; continue with: evalkit run plan.yaml --out 'my runs'"
    assert not Path("my runs/LEADERBOARD.md").exists()
    assert run_command(monkeypatch, "run", "plan.yaml", "--out", "my runs") == 0
    assert "2 of 4 samples were finished before; 2 to go" in capsys.readouterr().err
    assert Path("my runs/LEADERBOARD.md").exists()


def test_errors_are_3_and_a_failed_gate_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("plan.yaml").write_text(PLAN + GATE)
    Path("gate.yaml").write_text("rules: {'track/parity:4': {min: 101}}")
    assert run_command(monkeypatch, "run", "plan.yaml") == 1
    write_script(Path("weak"), {"match": "sum/512/1/42", "error": "out of memory"}, PARITY, *sums())
    Path("plan.yaml").write_text(PLAN.partition("reports:")[0])
    assert run_command(monkeypatch, "run", "plan.yaml", "--out", "other") == 3


class TestFailures:
    def test_a_run_that_fails_costs_no_other_and_is_named_in_every_report(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("runs/plan/scripted-weak").mkdir(parents=True)
        Path("runs/plan/scripted-weak/track").write_text("")
        Path("gate.yaml").write_text("rules: {tiny: {min: 0}}")
        Path("plan.yaml").write_text(PLAN + GATE)
        assert run_command(monkeypatch, "run", "plan.yaml") == 2
        output, notes = capsys.readouterr()
        missing = "scripted:weak on track: cannot write to runs/plan/scripted-weak/track"
        assert notes.splitlines()[-1].startswith(f"failed: {missing}")
        assert read_run(Path("runs/plan/scripted-strong/track")).counts["n"] == 4
        assert f"MISSING: {missing}" in " ".join(output.split())
        for name in ("comparison.md", "comparison.html", "LEADERBOARD.md"):
            assert "MISSING: scripted:weak on track" in Path("runs/plan", name).read_text()

    def test_an_earlier_result_does_not_stand_for_a_run_that_failed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_command(monkeypatch, "run", "plan.yaml") == 0
        write_script(Path("weak"), PARITY, *sums())
        Path("runs/plan/superseded").write_text("")
        assert run_command(monkeypatch, "run", "plan.yaml") == 2
        assert read_run(Path("runs/plan/scripted-weak/tiny")).summary[0].mean == 50.0
        assert "failed: report compare runs/plan/comparison.md: scripted:weak has no run" in capsys.readouterr().err
        board = Path("runs/plan/LEADERBOARD.md").read_text()
        assert "scripted:strong (" in board
        assert "scripted:weak (" not in board

    def test_a_bug_in_one_run_costs_no_other(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*_: Any) -> Any:
            raise RuntimeError("a bug")

        with monkeypatch.context() as broken:
            broken.setattr(TinySuite, "summarize", fail)
            assert run_command(monkeypatch, "run", "plan.yaml") == 70
        assert "failed: scripted:weak on tiny: internal error, RuntimeError: a bug" in capsys.readouterr().err
        assert read_run(Path("runs/plan/scripted-strong/track")).counts["n"] == 4


def test_a_wrong_value_is_met_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plan.yaml").write_text(PLAN.replace("shots: 1", "shot: 1"))
    assert run_command(monkeypatch, "run", "plan.yaml") == 2
    error = capsys.readouterr().err
    assert error == "evalkit: plan plan.yaml: suites.track.shot is unknown; did you mean 'shots'?\n"
    assert number_asked() == 0


@pytest.mark.parametrize("name", shipped_plans())
def test_a_shipped_plan_is_sound_up_to_loading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run_command(monkeypatch, "run", name, "--dry-run") == 0
    assert " on ruler (ctx 4096, " in capsys.readouterr().out.splitlines()[0]
    assert {path.name for path in Path().iterdir()} == {"strong", "weak", "plan.yaml"}
