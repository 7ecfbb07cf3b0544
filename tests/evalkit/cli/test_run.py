"""`evalkit run`: a whole plan on scripted models, stopped and continued, and one suite by name."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.cli.shared import plan_run
from evalkit.records import SampleRecord
from evalkit.running.model_options import ModelOptions
from evalkit.running.plan import RunPlan, shipped_plans
from evalkit.running.replicas.options import ReplicaOptions
from evalkit.running.store import read_run, read_samples
from evalkit.suite_spec import SUITES
from model_adapters import loading
from tests.evalkit.scripts import asked, interrupted_waits, sums, write_script
from tests.evalkit.tiny_suite import REGISTERED, TinySuite
from tests.support import Evalkit

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


def untimed(sample: SampleRecord) -> SampleRecord:
    return replace(sample, prefill_seconds=None, decode_seconds=None)


def number_asked() -> int:
    return len(asked(Path("asked")))


def test_replicas_of_a_command_keep_the_gpus_of_the_plan(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("plan.yaml").write_text(
        "models: ['scripted:weak']\nsuites: {tiny: {replicas: auto, gpus_per_replica: 0.25}, track: {updates: 4}}\n"
    )
    carried: list[RunPlan] = []
    monkeypatch.setattr(plan_run, "carry_out", lambda read: carried.append(read) or 0)
    evalkit("run plan.yaml --replicas 2")
    (read,) = carried
    assert [run.replicas for run in read.runs] == [ReplicaOptions(2, 0.25), ReplicaOptions(2)]


def test_a_plan_ends_in_its_reports_and_is_not_run_twice(evalkit: Evalkit) -> None:
    assert "run 4 of 4: scripted:strong on track" in evalkit("run plan.yaml").err
    assert {path.name for path in Path("runs/plan").iterdir()} == {
        *("scripted-weak", "scripted-strong", "comparison.md", "comparison.html", "LEADERBOARD.md")
    }
    assert number_asked() == 16
    assert evalkit("run plan.yaml").err.count("finished before: runs/plan/scripted-") == 4
    assert number_asked() == 16


def test_every_run_has_its_own_time(evalkit: Evalkit) -> None:
    write_script(Path("weak"), {"match": "sum/512/0/42", "wait_seconds": 0.3}, {"match": "*"})
    evalkit("run plan.yaml")
    slow, quick = (read_run(Path(f"runs/plan/scripted-{model}/tiny")).timing for model in ("weak", "strong"))
    assert slow.wall_seconds > 0.3
    # Not the process's time: the first run alone took longer than the second from its start to its first prompt.
    track = read_run(Path("runs/plan/scripted-weak/track")).timing
    assert track.first_prompt_seconds is not None
    assert track.first_prompt_seconds < slow.wall_seconds + track.wall_seconds - 0.3
    assert quick.first_prompt_seconds is not None


def test_a_plan_that_asks_for_more_goes_on(evalkit: Evalkit) -> None:
    evalkit("run plan.yaml")
    Path("plan.yaml").write_text(PLAN.replace("samples: 4", "samples: 6"))
    evalkit("run plan.yaml")
    assert number_asked() == 20
    assert read_run(Path("runs/plan/scripted-weak/tiny")).counts.n == 6


def test_a_plan_that_asks_for_less_keeps_the_old_run_elsewhere(evalkit: Evalkit) -> None:
    evalkit("run plan.yaml")
    Path("plan.yaml").write_text(PLAN.replace("samples: 4", "samples: 3"))
    assert "the old run is kept as runs/plan/superseded/scripted-weak-tiny" in evalkit("run plan.yaml").err
    assert read_run(Path("runs/plan/scripted-weak/tiny")).counts.n == 3
    assert read_run(Path("runs/plan/superseded/scripted-weak-tiny")).counts.n == 4


def test_weights_that_were_overwritten_are_run_and_judged_again(evalkit: Evalkit) -> None:
    """A nightly run: the folder `checkpoint-latest` holds other weights every time."""
    Path("gate.yaml").write_text("rules: {tiny: {min: 60}}")
    Path("plan.yaml").write_text(PLAN + GATE)
    write_script(Path("weak"), PARITY, *sums())
    evalkit("run plan.yaml")
    write_script(Path("weak"), PARITY, *sums(wrong=range(3)))
    notes = evalkit("run plan.yaml", code=1).err
    assert "fingerprint: sha256:" in notes
    assert "the old run is kept as runs/plan/superseded/scripted-weak-tiny" in notes
    assert "finished before: runs/plan/scripted-strong/tiny" in notes
    assert read_run(Path("runs/plan/scripted-weak/tiny")).summary[0].mean == 25.0
    assert load_run(Path("runs/plan/superseded/scripted-weak-tiny")).record.summary[0].mean == 100.0


def test_a_report_that_no_format_fits_is_refused_before_the_runs(evalkit: Evalkit) -> None:
    sides = "base: 'scripted:weak', new: 'scripted:strong'"
    for report, message in (
        (f"{{report: compare, {sides}, out: c.pdf}}", "c.pdf: a comparison is written as .md or .html"),
        ("{report: leaderboard, out: board.pdf}", "board.pdf: the suffix does not say how to write it"),
    ):
        Path("plan.yaml").write_text(f"{PLAN.partition('reports:')[0]}reports:\n  - {report}\n")
        assert message in evalkit.refuses("run plan.yaml --dry-run")


def test_other_software_and_damage_are_run_again(evalkit: Evalkit) -> None:
    evalkit("run plan.yaml")
    file = Path("runs/plan/scripted-weak/tiny/run.json")
    record = json.loads(file.read_text())
    record["environment"]["libraries"]["torch"] = "1.0"
    file.write_text(json.dumps(record))
    damaged = Path("runs/plan/scripted-strong/tiny/run.json")
    damaged.write_text(damaged.read_text().replace('"n": 4', '"n": 5'))
    notes = evalkit("run plan.yaml").err
    assert "it was made with torch 1.0 -> " in notes
    assert "run.json disagrees with its own samples.jsonl" in notes
    assert notes.count("the old run is kept as runs/plan/superseded/") == 2
    assert number_asked() == 24


def test_a_stopped_plan_goes_on_where_it_was(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(Path("strong"), PARITY, {"match": "sum/512/2/42", "text": "44", "wait_seconds": 0.01}, *sums())
    with interrupted_waits(monkeypatch):
        hint = evalkit("run plan.yaml --out 'my runs'", code=130).err.splitlines()[-1]
    assert hint == "stopped; continue with: evalkit run plan.yaml --out 'my runs'"
    assert not Path("my runs/LEADERBOARD.md").exists()
    notes = evalkit(hint.partition("evalkit ")[2]).err
    assert "2 of 4 samples are stored already; 2 to run" in notes
    assert Path("my runs/LEADERBOARD.md").exists()


def test_errors_are_3_and_a_failed_gate_is_1(evalkit: Evalkit) -> None:
    Path("plan.yaml").write_text(PLAN + GATE)
    Path("gate.yaml").write_text("rules: {'track/parity:4': {min: 101}}")
    evalkit("run plan.yaml", code=1)
    write_script(Path("weak"), {"match": "sum/512/1/42", "error": "out of memory"}, PARITY, *sums())
    Path("plan.yaml").write_text(PLAN.partition("reports:")[0])
    evalkit("run plan.yaml --out other", code=3)


REAL_PLAN = """
models: ["{model}"]
suites: {{track: {{tasks: [parity], updates: [4, 8], samples: 2, shots: 1}}, tiny: {{samples: 2}}}}
"""


class TestOneModelForSeveralRuns:
    """A plan loads a checkpoint once for all of its suites."""

    @pytest.fixture(autouse=True)
    def loads(self, monkeypatch: pytest.MonkeyPatch, hybrid: Path) -> list[str]:
        own, loaded = loading.load_model, list[str]()

        def load_model(options: ModelOptions, ctxs: Sequence[int] = ()) -> loading.LoadedModel:
            loaded.append(options.model)
            return own(options, ctxs)

        monkeypatch.setattr(loading, "load_model", load_model)
        Path("plan.yaml").write_text(REAL_PLAN.format(model=hybrid))
        return loaded

    def test_the_answers_are_those_of_runs_alone(self, evalkit: Evalkit, hybrid: Path, loads: list[str]) -> None:
        evalkit("run plan.yaml --out all")
        assert len(loads) == 1
        alone = "--tasks parity --updates 4,8 --samples 2 --shots 1 --out alone --model"
        evalkit("track", *alone.split(), str(hybrid))
        (planned,) = Path("all").glob("*/track")
        assert read_run(planned).results == read_run(Path("alone")).results
        assert read_run(planned).preflight == read_run(Path("alone")).preflight
        assert list(map(untimed, read_samples(planned))) == list(map(untimed, read_samples(Path("alone"))))
        (other,) = Path("all").glob("*/tiny")
        assert read_run(other).model == read_run(planned).model

    def test_a_run_that_fails_leaves_its_model_to_no_other(
        self, evalkit: Evalkit, loads: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> Any:
            raise RuntimeError("a bug")

        monkeypatch.setattr("suites.state_tracking.suite.StateTrackingSuite.summarize", fail)
        evalkit("run plan.yaml --out all", code=70)
        assert len(loads) == 2


class TestFailures:
    def test_a_run_that_fails_costs_no_other_and_is_named_in_every_report(self, evalkit: Evalkit) -> None:
        Path("runs/plan/scripted-weak").mkdir(parents=True)
        Path("runs/plan/scripted-weak/track").write_text("")
        Path("gate.yaml").write_text("rules: {tiny: {min: 0}}")
        Path("plan.yaml").write_text(PLAN + GATE)
        shown = evalkit("run plan.yaml", code=2)
        missing = "scripted:weak on track: cannot write to runs/plan/scripted-weak/track"
        assert shown.err.splitlines()[-1].startswith(f"failed: {missing}")
        assert read_run(Path("runs/plan/scripted-strong/track")).counts.n == 4
        assert f"MISSING: {missing}" in " ".join(shown.out.split())
        for name in ("comparison.md", "comparison.html", "LEADERBOARD.md"):
            assert "MISSING: scripted:weak on track" in Path("runs/plan", name).read_text()

    def test_an_earlier_result_does_not_stand_for_a_run_that_failed(self, evalkit: Evalkit) -> None:
        evalkit("run plan.yaml")
        write_script(Path("weak"), PARITY, *sums())
        Path("runs/plan/superseded").write_text("")
        notes = evalkit("run plan.yaml", code=2).err
        assert "failed: report compare runs/plan/comparison.md: scripted:weak has no run" in notes
        assert read_run(Path("runs/plan/scripted-weak/tiny")).summary[0].mean == 50.0
        board = Path("runs/plan/LEADERBOARD.md").read_text()
        assert "scripted:strong (" in board
        assert "scripted:weak (" not in board

    def test_a_bug_in_one_run_costs_no_other(self, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any) -> Any:
            raise RuntimeError("a bug")

        monkeypatch.setattr(TinySuite, "summarize", fail)
        notes = evalkit("run plan.yaml", code=70).err
        assert "failed: scripted:weak on tiny: internal error, RuntimeError: a bug" in notes
        assert read_run(Path("runs/plan/scripted-strong/track")).counts.n == 4


def test_a_wrong_value_is_met_before_anything_runs(evalkit: Evalkit) -> None:
    Path("plan.yaml").write_text(PLAN.replace("shots: 1", "shot: 1"))
    refusal = evalkit.refuses("run plan.yaml")
    assert refusal == "plan plan.yaml: suites.track.shot is unknown; did you mean 'shots'?"
    assert number_asked() == 0


@pytest.mark.parametrize("name", shipped_plans())
def test_a_shipped_plan_is_sound_up_to_loading(evalkit: Evalkit, name: str) -> None:
    assert " on ruler (ctx 4096, " in evalkit("run", name, "--dry-run").out.splitlines()[0]
    assert {path.name for path in Path().iterdir()} == {"strong", "weak", "plan.yaml"}
