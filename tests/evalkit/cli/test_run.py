"""`evalkit run`: a whole plan on scripted models, stopped and gone on with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.shared import suite_run
from evalkit.cli.shared.suite_run import ModelOptions
from evalkit.records import Request
from evalkit.running.plan import shipped_plans
from evalkit.running.store import read_run
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter, ScriptedReply
from tests.evalkit.cli.scripted_command import loaded
from tests.evalkit.cli.test_compare import run_command

PLAN = """
models: [weak, strong]
suites: {track: {tasks: [parity], updates: [4, 8], samples: 4, shots: 1}}
reports:
  - {report: compare, base: strong, new: weak, out: comparison.md}
  - {report: compare, base: strong, new: weak, out: comparison.html}
  - {report: leaderboard, out: LEADERBOARD.md}
"""
GATE = "  - {report: gate, base: strong, new: weak, policy: gate.yaml}\n"


class Models:
    """Scripted models that count what they are asked; `reply` says what to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.loads = 0

    def load(self, options: ModelOptions, ctxs: tuple[int, ...] = ()) -> Any:
        self.loads += 1
        return loaded(identity=replace(SCRIPTED_IDENTITY, path=options.model, fingerprint=f"sha256:{options.model}"))

    def adapter(self, loaded: Any, _: ModelOptions) -> ScriptedAdapter:
        return ScriptedAdapter(self.reply, identity=loaded.identity)

    def reply(self, request: Request) -> str | ScriptedReply:
        self.asked.append(request.id)
        return "even"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Models:
    monkeypatch.chdir(tmp_path)
    made = Models()
    monkeypatch.setattr(suite_run, "load", made.load)
    monkeypatch.setattr(suite_run, "make_adapter", made.adapter)
    Path("plan.yaml").write_text(PLAN)
    return made


def test_a_plan_ends_in_its_reports_and_is_not_run_twice(
    models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert "run 2 of 2: strong on track" in capsys.readouterr().err
    assert {path.name for path in Path("runs/plan").iterdir()} == {
        *("weak", "strong", "comparison.md", "comparison.html", "LEADERBOARD.md")
    }
    assert (len(models.asked), models.loads) == (16, 2)
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert "finished before: runs/plan/weak/track" in capsys.readouterr().err
    assert (len(models.asked), models.loads) == (16, 2)


def test_a_plan_that_asks_for_more_goes_on(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    Path("plan.yaml").write_text(PLAN.replace("samples: 4", "samples: 6"))
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert len(models.asked) == 24
    assert read_run(Path("runs/plan/weak/track")).counts["n"] == 12


def test_a_stopped_plan_goes_on_where_it_was(
    models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(request: Request) -> str:
        models.asked.append(request.id)
        if len(models.asked) == 11:
            raise KeyboardInterrupt
        return "even"

    monkeypatch.setattr(models, "reply", stop)
    assert run_command(monkeypatch, "run", "plan.yaml") == 130
    assert "goes on from here" in capsys.readouterr().err
    assert not Path("runs/plan/LEADERBOARD.md").exists()
    assert run_command(monkeypatch, "run", "plan.yaml") == 0
    assert Path("runs/plan/LEADERBOARD.md").exists()
    assert len(models.asked) == 17, "one sample was in flight"


def test_errors_are_3_and_a_failed_gate_is_1(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("plan.yaml").write_text(PLAN + GATE)
    Path("gate.yaml").write_text("rules: {'track/parity:4': {min: 101}}")
    assert run_command(monkeypatch, "run", "plan.yaml") == 1
    monkeypatch.setattr(models, "reply", lambda request: ScriptedReply(error="out of memory"))
    Path("plan.yaml").write_text(PLAN.partition("reports:")[0])
    assert run_command(monkeypatch, "run", "plan.yaml", "--out", "other") == 3


def test_a_wrong_option_is_met_before_anything_runs(
    models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plan.yaml").write_text(PLAN.replace("shots: 1", "shot: 1"))
    assert run_command(monkeypatch, "run", "plan.yaml") == 2
    error = capsys.readouterr().err
    assert "suite track: No such option" in error
    assert error.count("\n") == 1
    assert models.loads == 0


@pytest.mark.parametrize("name", shipped_plans())
def test_a_shipped_plan_is_sound_up_to_loading(
    models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run_command(monkeypatch, "run", name, "--dry-run") == 0
    assert capsys.readouterr().out.startswith("evalkit ruler --ctx 4096,")
    assert models.loads == 0


def test_the_7b_plan_reaches_the_weights(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(options: ModelOptions, ctxs: tuple[int, ...]) -> Any:
        asked.append(options.model)
        raise suite_run.options.UsageError(f"{options.model} is not here")

    monkeypatch.setattr(suite_run, "load", refuse)
    assert run_command(monkeypatch, "run", "olmo-hybrid-7b") == 2
    assert asked == ["allenai/Olmo-3-1025-7B"]
