"""`evalkit run PLAN --watch`: the checkpoints of a training run, each evaluated once against the last good one."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.running.store import read_run
from evalkit.running.watching import FoundCheckpoint, Readiness, step_of
from evalkit.suite_spec import SUITES
from tests.evalkit.scripts import asked, interrupted_waits, sums, write_script
from tests.evalkit.tiny_suite import REGISTERED
from tests.support import Evalkit

PLAN = """
suites: {tiny: {samples: 40}}
reports:
  - {report: compare, base: last-good, new: checkpoint, out: comparison.md}
  - {report: gate, base: last-good, new: checkpoint, policy: gate.yaml}
  - {report: leaderboard, out: LEADERBOARD.md}
"""
WATCH = "run plan.yaml --watch train"


@dataclass
class Scripts:
    """A training run that writes scripts in place of checkpoints."""

    waiting: dict[str, str] = field(default_factory=dict)
    unreachable: bool = False

    def checkpoints(self) -> list[FoundCheckpoint]:
        if self.unreachable:
            raise UsageError("--watch train: the hub does not answer")
        found = [
            FoundCheckpoint(path.name, step, f"scripted:{path}")
            for path in Path("train").iterdir()
            if (step := step_of(path.name)) is not None
        ]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def look(self, checkpoint: FoundCheckpoint) -> Readiness:
        content = (Path("train") / checkpoint.name).read_text()
        return Readiness(self.waiting.get(checkpoint.name, ""), content)


@pytest.fixture
def scripts() -> Scripts:
    return Scripts()


@pytest.fixture(autouse=True)
def training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scripts: Scripts) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    monkeypatch.setattr("model_adapters.checkpoint_source.open_source", lambda where: scripts)
    monkeypatch.setattr("evalkit.cli.shared.watch_run.SETTLING_SECONDS", 0.0)
    Path("plan.yaml").write_text(PLAN)
    Path("gate.yaml").write_text("rules: {tiny: {max_drop: 5}}")
    Path("train").mkdir()


def save(step: int, *, wrong: int) -> None:
    """A checkpoint that answers the first `wrong` of 40 questions wrongly."""
    write_script(Path(f"train/step{step}"), *sums(wrong=range(wrong)), log="../asked")


def verdict(name: str) -> dict[str, object]:
    values: dict[str, object] = json.loads(Path("runs/plan", name, "verdict.json").read_text())
    return values


def test_each_checkpoint_is_compared_with_the_last_good_one(evalkit: Evalkit) -> None:
    save(100, wrong=4)
    first = evalkit(f"{WATCH} --once")
    assert "step100 (step 100): nothing to compare it with yet" in first.err
    assert not Path("runs/plan/step100/comparison.md").exists()
    save(1000, wrong=2)
    save(300, wrong=30)
    notes = evalkit(f"{WATCH} --once", code=1).err
    assert notes.index("step300 (step 300): compared with step100") < notes.index("step1000 (step 1,000)")
    assert "step300 FAILED a check, so later ones are not compared with it" in notes
    assert "step1000 (step 1,000): compared with step100" in notes
    assert [(verdict(f"step{n}")["base"], verdict(f"step{n}")["passed"]) for n in (100, 300, 1000)] == [
        *((None, True), ("step100", False), ("step100", True)),
    ]
    assert "FAILED" in Path("runs/plan/step300/gate.md").read_text()
    assert Path("runs/plan/step1000/comparison.md").exists()
    assert all(f"step{step}" in Path("runs/plan/LEADERBOARD.md").read_text() for step in (100, 300, 1000))


def test_a_checkpoint_is_evaluated_once_whatever_restarts(evalkit: Evalkit) -> None:
    for step in (100, 200):
        save(step, wrong=0)
    evalkit(f"{WATCH} --once")
    before = sorted((path, path.stat().st_mtime_ns) for path in Path("runs").rglob("*") if path.is_file())
    assert "step" not in evalkit(f"{WATCH} --once").err
    assert sorted((path, path.stat().st_mtime_ns) for path in Path("runs").rglob("*") if path.is_file()) == before
    assert len(asked(Path("asked"))) == 80
    # The trainer keeps only the newest; the runs are enough to compare with.
    Path("train/step100").unlink()
    Path("train/step200").unlink()
    save(300, wrong=0)
    assert "step300 (step 300): compared with step200" in evalkit(f"{WATCH} --once").err
    # Without its runs a checkpoint cannot be compared with.
    shutil.rmtree("runs/plan/step300/tiny")
    Path("train/step300").unlink()
    save(400, wrong=0)
    assert "step400 (step 400): compared with step200" in evalkit(f"{WATCH} --once").err


def test_a_verdict_that_was_lost_is_made_again_without_asking_the_model(evalkit: Evalkit) -> None:
    for step in (100, 200):
        save(step, wrong=0)
    evalkit(f"{WATCH} --once")
    expected = verdict("step200")
    Path("runs/plan/step200/verdict.json").unlink()
    notes = evalkit(f"{WATCH} --once").err
    assert "finished before: runs/plan/step200/tiny" in notes
    assert verdict("step200") == expected
    assert len(asked(Path("asked"))) == 80


def test_a_half_written_checkpoint_waits_and_later_ones_do_not(evalkit: Evalkit, scripts: Scripts) -> None:
    save(100, wrong=0)
    save(200, wrong=0)
    scripts.waiting["step100"] = "model-00002-of-00002.safetensors"
    notes = evalkit(f"{WATCH} --once").err
    assert "step100 waits for model-00002-of-00002.safetensors" in notes
    assert evalkit(f"{WATCH} --once --dry-run").out == (
        "step100: waits for model-00002-of-00002.safetensors\nstep200: evaluated\n"
    )
    scripts.waiting.clear()
    assert evalkit(f"{WATCH} --once --dry-run").out.startswith("step100 on tiny (samples 40): runs/plan/step100/tiny\n")
    assert "step100 (step 100): nothing to compare it with yet" in evalkit(f"{WATCH} --once").err


def test_a_checkpoint_whose_files_still_change_waits(
    evalkit: Evalkit, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(100, wrong=0)

    def grow(_: float) -> None:
        with Path("train/step100").open("a") as file:
            file.write("\n")

    with monkeypatch.context() as growing:
        growing.setattr("evalkit.cli.shared.watch_run.sleep", grow)
        assert "step100 waits for its files to stop changing" in evalkit(f"{WATCH} --once").err
    assert "step100 passed" in evalkit(f"{WATCH} --once").err


def test_a_checkpoint_that_fails_is_named_and_costs_no_other(evalkit: Evalkit) -> None:
    save(100, wrong=0)
    Path("train/step200").write_text("{")
    write_script(Path("train/step300"), {"match": "sum/512/7/42", "error": "out of memory"}, *sums())
    save(400, wrong=0)
    notes = evalkit(f"{WATCH} --once", code=2).err
    assert "step200 failed: step200 on tiny: train/step200:1: not JSON" in notes
    assert "step300 failed: samples errored" in notes
    assert "step400 (step 400): compared with step100" in notes
    assert not Path("runs/plan/step300/verdict.json").exists()
    # Repaired, it is evaluated; the samples that it answered are not asked again.
    save(200, wrong=0)
    assert verdict("step400")["base"] == "step100"
    evalkit(f"{WATCH} --once", code=None)
    assert verdict("step200")["base"] == "step100"


class Days:
    """Sleeps of a watch, each of which changes something; the last one is interrupted."""

    def __init__(self, *changes: Callable[[], object]) -> None:
        self._changes = list(changes)

    def __call__(self, seconds: float) -> None:
        if seconds == 0:  # the time in which files must not change
            return
        assert seconds == 30
        if not self._changes:
            raise KeyboardInterrupt
        self._changes.pop(0)()


def test_it_goes_on_until_it_is_interrupted(
    evalkit: Evalkit, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reachable(value: bool) -> Callable[[], None]:
        return lambda: setattr(scripts, "unreachable", not value)

    def fail() -> None:
        Path("train/step250").write_text("{")

    days = Days(
        lambda: save(100, wrong=0), reachable(False), reachable(True), fail, lambda: None, lambda: save(300, wrong=0)
    )
    monkeypatch.setattr("evalkit.cli.shared.watch_run.sleep", days)
    notes = evalkit(f"{WATCH} --interval 30", code=130).err
    assert notes.count("the hub does not answer: trying again") == 1
    assert notes.count("step250 failed") == 1
    assert "step300 (step 300): compared with step100" in notes
    assert notes.splitlines()[-1] == "stopped; continue with: evalkit run plan.yaml --watch train --interval 30"


def test_a_stopped_evaluation_goes_on(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(
        Path("train/step100"), {"match": "sum/512/3/42", "text": "45", "wait_seconds": 0.01}, *sums(), log="../asked"
    )
    with interrupted_waits(monkeypatch):
        hint = evalkit(f"{WATCH} --once", code=130).err.splitlines()[-1]
    assert "3 of 40 samples are stored already; 37 to run" in evalkit(hint.partition("evalkit ")[2]).err
    assert read_run(Path("runs/plan/step100/tiny")).counts.n == 40


def test_a_base_that_cannot_be_read_fails_a_checkpoint_once(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    save(100, wrong=0)
    evalkit(f"{WATCH} --once")
    Path("runs/plan/step100/tiny/samples.jsonl").write_text("")
    save(200, wrong=0)
    monkeypatch.setattr("evalkit.cli.shared.watch_run.sleep", Days(lambda: None, lambda: None))
    notes = evalkit(f"{WATCH} --interval 30", code=130).err
    assert notes.count("step200 (step 200): compared with step100") == 1
    assert notes.count("step200 failed: runs/plan/step100/tiny: run.json disagrees with its own samples.jsonl") == 1


def test_a_model_of_the_plan_stands_for_the_first_good_checkpoint(evalkit: Evalkit) -> None:
    write_script(Path("base"), *sums())
    Path("plan.yaml").write_text("models: ['scripted:base']" + PLAN)
    save(100, wrong=30)
    save(200, wrong=0)
    notes = evalkit(f"{WATCH} --once", code=1).err
    assert "step100 (step 100): compared with scripted:base" in notes
    assert "step200 (step 200): compared with scripted:base" in notes
    assert verdict("step100")["passed"] is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{WATCH} --shard 1/2", "--shard cannot be combined with --watch; leave one of them out"),
        ("run plan.yaml --once", "--once goes with --watch, which names the checkpoints"),
        ("run plan.yaml --interval 5", "--interval goes with --watch, which names the checkpoints"),
        (
            "run --suite tiny --watch train",
            "--suite runs one suite and no plan; leave out the plan and its options, or --suite",
        ),
        (f"{WATCH} --once --interval 5", "--once looks once, and --interval is the time between two looks"),
        (f"{WATCH} --samples 5", "--samples is an option of --suite; write it below a suite of the plan instead"),
        ("run --watch train", "neither a plan nor --suite is named; see `evalkit run --help`"),
        ("run plan.yaml", "plan plan.yaml: models is missing"),
        (
            "run fixed.yaml",
            "plan fixed.yaml: report compare: base last-good needs --watch, which names the checkpoints",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(evalkit: Evalkit, line: str, message: str) -> None:
    Path("fixed.yaml").write_text("models: ['scripted:base']" + PLAN)
    assert evalkit.refuses(line).startswith(message)


def test_a_source_that_cannot_be_listed_is_refused_at_once_with_once(evalkit: Evalkit, scripts: Scripts) -> None:
    scripts.unreachable = True
    assert evalkit.refuses(f"{WATCH} --once") == "--watch train: the hub does not answer"


def test_questions_that_are_missing_are_met_first(evalkit: Evalkit) -> None:
    Path("plan.yaml").write_text("suites: {mmlu: {data: train}}\n")
    assert "train: no file abstract_algebra_test.csv in it or below" in evalkit.refuses(f"{WATCH} --once")


def test_a_policy_that_cannot_be_read_is_met_first(evalkit: Evalkit) -> None:
    Path("gate.yaml").write_text("rule: {}")
    save(100, wrong=0)
    assert "gate.yaml" in evalkit.refuses(f"{WATCH} --once")
    assert not Path("runs").exists()
