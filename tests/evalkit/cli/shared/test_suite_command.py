"""`--baseline`: two models on the same samples, and the comparison at the end."""

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.shared.options import Format
from evalkit.cli.shared.suite_command import run_suite
from evalkit.cli.shared.suite_run import RunOptions
from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from evalkit.running.store import read_run
from evalkit.suite_spec import SUITES, find_suite
from tests.evalkit.cli.test_compare import run_command
from tests.evalkit.scripts import sums, write_script
from tests.evalkit.tiny_suite import REGISTERED


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`strong` knows every sum, `weak` half of them, `broken` fails on one and `mute` on all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    write_script(Path("strong"), *sums())
    write_script(Path("weak"), *sums(wrong=range(0, 40, 2)))
    write_script(Path("broken"), {"match": "sum/512/3/42", "error": "out of memory"}, *sums())
    write_script(Path("mute"), {"match": "*", "error": "out of memory"})


def run(model: str, baseline: str | None, *, out: Path | None = None, format: Format = Format.TERMINAL) -> int:
    passed = {"baseline": baseline} if baseline else {}
    options = RunOptions(out, False, format, passed, 0.0, baseline and f"scripted:{baseline}")
    return run_suite("tiny", {"samples": 40}, ModelOptions(f"scripted:{model}"), options)


def test_two_runs_and_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("weak", "strong", out=Path("here")) == 0
    shown, notes = capsys.readouterr()
    assert "NEW is worse on sum at 512" in shown
    assert "tiny: 40 prompts, model scripted:strong (baseline)" in notes
    assert "stored in here/baseline and here" in notes
    assert read_run(Path("here/baseline")).model.path == "scripted:strong"
    assert read_run(Path("here")).model.path == "scripted:weak"
    assert read_run(Path("here")).config["baseline"] == "scripted:strong"
    assert Path("here/comparison.md").read_text().startswith("# tiny · scripted:strong → scripted:weak\n")


def test_json_is_the_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("strong", "weak", format=Format.JSON) == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert comparison["rows"][0]["difference"] == 50.0
    assert len(list(Path("runs").iterdir())) == 2


def test_errors_of_either_are_the_exit_code() -> None:
    assert run("strong", "broken", out=Path("a")) == 3
    assert run("broken", "strong", out=Path("b")) == 3


def test_a_baseline_that_answered_nothing_is_no_mistake_of_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("strong", "mute", out=Path("here")) == 3
    assert "the comparison could not be made (" in capsys.readouterr().err
    assert read_run(Path("here")).counts == {"n": 40, "errors": 0, "unscored": 0}


def test_both_places_are_checked_before_either_model_runs() -> None:
    assert run("strong", None, out=Path("here")) == 0
    with pytest.raises(UsageError, match="here already holds a run"):
        run("weak", "strong", out=Path("here"))
    assert not Path("here/baseline").exists()


def test_without_a_baseline_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("weak", None, out=Path("here")) == 0
    assert "NEW" not in capsys.readouterr().out


def test_what_cannot_be_paired_is_compared_apart_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "evalkit.analysis.pairing.unlike_things", lambda base, new: ["corpus essays: a in BASE, b in NEW"]
    )
    assert run("weak", "strong") == 0
    shown = capsys.readouterr().out
    assert "UNPAIRED" in shown
    assert "Not paired: runs/" in shown


def test_stopping_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(_: float) -> Any:
        raise KeyboardInterrupt

    write_script(Path("slow"), {"match": "*", "wait_seconds": 1})
    typed = ("run", "--suite", "tiny", "--model", "scripted:weak", "--baseline", "scripted:slow")
    with monkeypatch.context() as stopped:
        stopped.setattr("model_adapters.script.sleep", stop)
        assert run_command(monkeypatch, *typed) == 130
    hint = capsys.readouterr().err.splitlines()[-1]
    assert hint == f"stopped; continue with: evalkit {' '.join(typed)} --resume"
    assert run_command(monkeypatch, *hint.partition("evalkit ")[2].split()) == 0


COMMANDS = {
    "ruler": (("ruler", "--ctx", "512"), {"samples": 1}, {"samples": 100}),
    "track": (("track",), {"samples": 10}, {"samples": 50}),
    "extend": (("extend", "--ctx", "4K"), {"samples": 4, "windows": 2}, {"samples": 40, "windows": 8}),
    "mmlu": (("mmlu",), {"samples": None}, {"samples": None}),
    "loss": (("loss",), {"samples": 16}, {"samples": 16}),
}


@pytest.mark.parametrize("suite", COMMANDS)
def test_the_number_of_samples_follows_the_models_and_not_what_is_typed(
    monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    seen: list[Any] = []

    def record(spec: Any, settings: Any, *_: Any, **__: Any) -> Any:
        seen.append(settings)
        raise UsageError("enough")

    monkeypatch.setattr("evalkit.cli.shared.suite_command.perform", record)
    typed, quick, full = COMMANDS[suite]
    for more, expected in (
        ((), quick),
        (("--model", "reference:hybrid"), quick),
        (("--baseline", "reference:transformer"), quick),
        (("--model", "./mine"), full),
        (("--baseline", "./mine"), full),
    ):
        assert run_command(monkeypatch, *typed, *more) == 2
        settings = seen.pop()
        assert {name: getattr(settings, name) for name in expected} == expected, more


def test_a_model_of_the_settings_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    extend = find_suite("extend")
    assert extend.read({"ctx": 4096, "before": "./mine"}, ["reference:hybrid"]).samples == 40
    assert extend.read({"ctx": 4096, "before": "reference:hybrid"}, ["reference:hybrid"]).samples == 4
