"""`--baseline`: two models on the same samples, and the comparison at the end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.shared import suite_run
from evalkit.cli.shared.baseline_run import execute_against
from evalkit.cli.shared.options import Format
from evalkit.cli.shared.suite_run import ModelOptions, RunOptions
from evalkit.errors import UsageError
from evalkit.records import Request
from evalkit.running.folder_lock import FolderLock
from evalkit.running.store import read_run
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter, ScriptedReply
from tests.evalkit.cli.scripted_command import MODEL_OPTIONS, loaded
from tests.evalkit.cli.test_compare import run_command
from tests.evalkit.tiny_suite import TinySuite, right_answer

SUITE = TinySuite(samples=40)


@pytest.fixture
def two_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`strong` knows every sum, `weak` a half of them, `broken` fails on one, and `dead` on all."""
    monkeypatch.chdir(tmp_path)

    def load(model_options: ModelOptions, ctxs: tuple[int, ...] = ()) -> Any:
        name = model_options.model
        return loaded(identity=replace(SCRIPTED_IDENTITY, path=name, fingerprint=f"sha256:{name}"))

    def reply(name: str, request: Request) -> str | ScriptedReply:
        index = int(request.id.split("/")[2])
        if (name == "broken" and index == 3) or name == "dead":
            return ScriptedReply(error="out of memory")
        return right_answer(request) if name != "weak" or index % 2 else "no idea"

    monkeypatch.setattr(suite_run, "load", load)

    def adapter(loaded: Any, _: ModelOptions) -> ScriptedAdapter:
        return ScriptedAdapter(lambda request: reply(loaded.identity.path, request), identity=loaded.identity)

    monkeypatch.setattr(suite_run, "make_adapter", adapter)
    return tmp_path


def run(model: str, baseline: str | None, *, out: Path | None = None, format: Format = Format.TERMINAL) -> int:
    return execute_against(
        baseline,
        lambda tokenizer: SUITE,
        replace(MODEL_OPTIONS, model=model),
        RunOptions(out, False, format, {"ctx": "512"}, 0.0),
        settings={"seed": SUITE.seed, "ctxs": SUITE.ctxs},
        headline=lambda name: f"tiny: 40 prompts, model {name}",
    )


def test_two_runs_and_a_comparison(two_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("weak", "strong", out=Path("here")) == 0
    shown, notes = capsys.readouterr()
    assert "NEW is worse in sum at 512" in shown
    assert "tiny: 40 prompts, model strong (baseline)" in notes
    assert "stored in here/baseline and here" in notes
    assert read_run(Path("here/baseline")).model.path == "strong"
    assert read_run(Path("here")).model.path == "weak"
    assert Path("here/comparison.md").read_text().startswith("# tiny · strong → weak\n")


def test_json_is_the_comparison(two_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("strong", "weak", format=Format.JSON) == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert comparison["rows"][0]["difference"] == 50.0
    assert len(list(Path("runs").iterdir())) == 2


def test_errors_of_either_are_the_exit_code(two_models: Path) -> None:
    assert run("strong", "broken", out=Path("a")) == 3
    assert run("broken", "strong", out=Path("b")) == 3


@pytest.mark.parametrize(("model", "baseline"), [("strong", "dead"), ("dead", "strong"), ("dead", "dead")])
@pytest.mark.parametrize("format", list(Format))
def test_a_side_that_errored_throughout_leaves_nothing_to_compare(
    two_models: Path, capsys: pytest.CaptureFixture[str], model: str, baseline: str, format: Format
) -> None:
    assert run(model, baseline, out=Path("here"), format=format) == 3
    shown, notes = capsys.readouterr()
    assert "the comparison could not be made (here/baseline and here have no scored sample in common" in notes
    assert notes.splitlines()[-1] == "stored in here/baseline and here"
    assert {read_run(Path(folder)).counts["n"] for folder in ("here", "here/baseline")} == {40}
    if format is Format.JSON:
        assert json.loads(shown)["comparisons"] == []


def test_a_fault_in_the_comparison_leaves_both_runs(
    two_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no rows")

    monkeypatch.setattr("reports.comparison_report.comparison_report", broken)
    assert run("weak", "strong", out=Path("here")) == 70
    assert "comparison.md could not be made (ZeroDivisionError: no rows)" in capsys.readouterr().err
    assert {read_run(Path(folder)).counts["n"] for folder in ("here", "here/baseline")} == {40}


def test_the_place_of_the_second_run_is_checked_before_the_first_runs(two_models: Path) -> None:
    assert run("weak", None, out=Path("here")) == 0
    with pytest.raises(UsageError, match="here already holds a run; pass --resume"):
        run("weak", "strong", out=Path("here"))
    with FolderLock(Path("other")), pytest.raises(UsageError, match="other is in use by another process"):
        run("weak", "strong", out=Path("other"))
    assert not Path("here/baseline").exists()
    assert not Path("other/baseline").exists()


def test_without_a_baseline_nothing_changes(two_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("weak", None, out=Path("here")) == 0
    assert "NEW" not in capsys.readouterr().out


def test_what_cannot_be_paired_is_compared_apart_and_said(
    two_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "evalkit.analysis.pairing.unlike_things", lambda base, new: ["corpus essays: a in BASE, b in NEW"]
    )
    assert run("weak", "strong") == 0
    shown = capsys.readouterr().out
    assert "UNPAIRED" in shown
    assert "Not paired: runs/" in shown


def test_stopping_says_how_to_go_on(
    two_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(suite_run, "make_adapter", stop)
    monkeypatch.setattr("sys.argv", ["evalkit", "ruler", "--ctx", "512", "--baseline", "strong"])
    assert run("weak", "strong") == 130
    assert "continue with: evalkit ruler --ctx 512 --baseline strong --resume" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("ruler", "--ctx", "512"), ("track",), ("loss",)])
def test_every_suite_command_takes_a_baseline(
    two_models: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    seen: list[tuple[str | None, str, Any]] = []

    def record(baseline: str | None, build: Any, model_options: ModelOptions, *_: Any, **rest: Any) -> int:
        seen.append((baseline, model_options.model, rest["headline"]("NAME")))
        return 0

    monkeypatch.setattr("evalkit.cli.shared.baseline_run.execute_against", record)
    assert run_command(monkeypatch, *command, "--baseline", "reference:transformer") == 0
    ((baseline, model, headline),) = seen
    assert (baseline, model) == ("reference:transformer", "reference:hybrid")
    assert headline.startswith(command[0])
    assert "NAME" in headline
