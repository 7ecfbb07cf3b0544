"""`--baseline`: two models on the same samples, and the comparison at the end."""

from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.records import Counts
from evalkit.running.store import read_run
from evalkit.suite_spec import SUITES, find_suite
from tests.evalkit.scripts import interrupted_waits, sums, write_script
from tests.evalkit.tiny_suite import REGISTERED
from tests.support import Evalkit


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, evalkit: Evalkit) -> None:
    """`strong` answers every sum rightly and `weak` half of them; `broken` fails on one, and `mute` on all."""
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    write_script(Path("strong"), *sums())
    write_script(Path("weak"), *sums(wrong=range(0, 40, 2)))
    write_script(Path("broken"), {"match": "sum/512/3/42", "error": "out of memory"}, *sums())
    write_script(Path("mute"), {"match": "*", "error": "out of memory"})


def compared(model: str, baseline: str, more: str = "") -> str:
    return f"run --suite tiny --samples 40 --model scripted:{model} --baseline scripted:{baseline} {more}"


def test_two_runs_and_a_comparison(evalkit: Evalkit) -> None:
    shown = evalkit(compared("weak", "strong", "--out here"))
    assert "weak loses 50.0 points on sum at 512 [" in shown.out
    assert "tiny: 40 prompts, model scripted:strong (baseline)" in shown.err
    assert "stored in here/baseline and here" in shown.err
    assert read_run(Path("here/baseline")).model.path == "scripted:strong"
    assert read_run(Path("here")).model.path == "scripted:weak"
    assert read_run(Path("here")).config["baseline"] == "scripted:strong"
    assert Path("here/comparison.md").read_text().startswith("# tiny · scripted:strong → scripted:weak\n")


def test_json_is_the_comparison(evalkit: Evalkit) -> None:
    (comparison,) = evalkit(compared("strong", "weak", "--format json")).json()["comparisons"]
    assert comparison["rows"][0]["difference"] == 50.0
    assert len(list(Path("runs").iterdir())) == 2


def test_errors_of_either_are_the_exit_code(evalkit: Evalkit) -> None:
    evalkit(compared("strong", "broken"), code=3)
    evalkit(compared("broken", "strong"), code=3)


def test_a_baseline_that_answered_nothing_is_no_mistake_of_the_user(evalkit: Evalkit) -> None:
    notes = evalkit(compared("strong", "mute", "--out here"), code=3).err
    assert "the comparison could not be made (" in notes
    assert read_run(Path("here")).counts == Counts(n=40, errors=0, unscored=0)


def test_both_places_are_checked_before_either_model_runs(evalkit: Evalkit) -> None:
    evalkit("run --suite tiny --model scripted:strong --out here")
    assert "here already holds a run" in evalkit.refuses(compared("weak", "strong", "--out here"))
    assert not Path("here/baseline").exists()


def test_without_a_baseline_nothing_changes(evalkit: Evalkit) -> None:
    assert "NEW" not in evalkit("run --suite tiny --model scripted:weak").out


def test_what_cannot_be_paired_is_compared_apart_and_reported(
    evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "evalkit.analysis.pairing.unlike_things", lambda base, new: ["corpus essays: a in BASE, b in NEW"]
    )
    shown = evalkit(compared("weak", "strong")).out
    assert "UNPAIRED" in shown
    assert "Not paired: runs/" in shown


def test_stopping_says_how_to_go_on(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(Path("slow"), {"match": "*", "wait_seconds": 1})
    typed = compared("weak", "slow").strip()
    with interrupted_waits(monkeypatch):
        hint = evalkit(typed, code=130).err.splitlines()[-1]
    assert hint == f"stopped; continue with: evalkit {typed} --resume"
    monkeypatch.setattr("model_adapters.script.sleep", lambda _: None)
    evalkit(hint.partition("evalkit ")[2])


COMMANDS = {
    "ruler": ("ruler --ctx 512", {"samples": 1}, {"samples": 100}),
    "track": ("track", {"samples": 10}, {"samples": 50}),
    "extend": ("extend --ctx 4K", {"samples": 4, "windows": 2}, {"samples": 40, "windows": 8}),
    "mmlu": ("mmlu", {"samples": None}, {"samples": None}),
    "loss": ("loss", {"samples": 16}, {"samples": 16}),
}


@pytest.mark.parametrize("suite", COMMANDS)
def test_the_number_of_samples_follows_the_models_and_not_what_is_typed(
    evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suite: str
) -> None:
    seen: list[Any] = []
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()

    def record(spec: Any, settings: Any, *_: Any, **__: Any) -> Any:
        seen.append(settings)
        raise UsageError("enough")

    monkeypatch.setattr("evalkit.cli.shared.suite_command.perform", record)
    typed, quick, full = COMMANDS[suite]
    for more, expected in (
        ("", quick),
        ("--model reference:hybrid", quick),
        ("--baseline reference:transformer", quick),
        ("--model ./mine", full),
        ("--baseline ./mine", full),
    ):
        assert evalkit.refuses(f"{typed} {more}") == "enough"
        settings = seen.pop()
        assert {name: getattr(settings, name) for name in expected} == expected, more


def test_a_model_of_the_settings_counts_too() -> None:
    extend = find_suite("extend")
    assert extend.read({"ctx": 4096, "before": "./mine"}, ["reference:hybrid"]).samples == 40
    assert extend.read({"ctx": 4096, "before": "reference:hybrid"}, ["reference:hybrid"]).samples == 4
