"""Predictions made elsewhere, stored as a run that the other commands take."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.analysis.pairing import pair_runs
from tests.evalkit.cli.test_compare import run_command

Evalkit = Callable[..., int]


@pytest.fixture
def evalkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evalkit:
    """`evalkit(*arguments)` in a folder with the predictions `good` and `poor` of two models on the same data."""
    monkeypatch.chdir(tmp_path)
    for name, right in (("good", 38), ("poor", 20)):
        for ctx in (4096, 8192):
            folder = tmp_path / name / str(ctx) / "pred"
            folder.mkdir(parents=True)
            lines = [
                {"index": n, "pred": f"{n}a" if n < right else "?", "input": f"What is {n}?", "outputs": [f"{n}a"]}
                for n in range(40)
            ]
            (folder / "vt.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lambda *arguments: run_command(monkeypatch, *arguments)


@pytest.fixture
def stored(evalkit: Evalkit, capsys: pytest.CaptureFixture[str]) -> Evalkit:
    """The same, with both stored as runs."""
    assert evalkit("score", "ruler", "good", "--out", "runs/good", "--model", "lab/good") == 0
    assert evalkit("score", "ruler", "poor", "--out", "runs/poor") == 0
    capsys.readouterr()
    return evalkit


def test_a_stored_run_says_what_is_known_and_marks_the_rest(stored: Evalkit) -> None:
    run = load_run(Path("runs/good"))
    record = run.record
    assert (record.suite, record.model.path, record.model.family, record.model.tokenizer) == (
        "ruler",
        "lab/good",
        "unknown",
        "unknown",
    )
    assert load_run(Path("runs/poor")).record.model.path == "predictions:poor"
    assert (record.timing, record.memory, record.counts) == ({}, {}, {"n": 80, "errors": 0, "unscored": 0})
    assert [(row.ctx, row.value, row.n) for row in record.results] == [(4096, 95.0, 40), (8192, 95.0, 40)]
    assert "the answers were made elsewhere" in record.warnings[0]
    assert set(run.samples) == {f"vt/{ctx}/{index}/0" for ctx in (4096, 8192) for index in range(40)}
    assert Path("runs/good/report.md").exists()


def test_show(stored: Evalkit, capsys: pytest.CaptureFixture[str]) -> None:
    assert stored("show", "runs/good") == 0
    assert "unknown, fingerprint of its answers" in capsys.readouterr().out
    assert stored("show", "runs/good", "--sample", "vt/4096/39/0") == 0
    assert "the prompts were made elsewhere; they stand in good" in capsys.readouterr().out
    assert stored("show", "runs/good", "--format", "json", "--html", "good.html", "--figures", "figures") == 0
    assert json.loads(capsys.readouterr().out)["suite"] == "ruler"


def test_compare_pairs_the_samples(stored: Evalkit, capsys: pytest.CaptureFixture[str]) -> None:
    pairing = pair_runs(load_run(Path("runs/good")), load_run(Path("runs/poor")))
    assert [len(row.pairs) for row in pairing.rows] == [40, 40]
    assert all(pair.same_prompt for pair in pairing.pairs())
    assert stored("compare", "runs/good", "runs/poor") == 0
    assert "-45.0" in capsys.readouterr().out


def test_gate_and_leaderboard(stored: Evalkit, capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.yaml").write_text("rules: {ruler@4096: {max_drop: 5}}\n")
    assert stored("gate", "runs/good", "runs/good", "--policy", "policy.yaml") == 0
    assert stored("gate", "runs/good", "runs/poor", "--policy", "policy.yaml") == 1
    assert stored("gate", "--init", "runs/good", "--policy", "made.yaml") == 0
    assert stored("gate", "runs/good", "runs/poor", "--policy", "made.yaml") == 1
    capsys.readouterr()
    assert stored("leaderboard", "runs", "--format", "csv") == 0
    board = capsys.readouterr().out
    assert "Models,1,lab/good" in board
    assert "Models,2,predictions:poor" in board


def test_other_data_are_another_protocol(stored: Evalkit, capsys: pytest.CaptureFixture[str]) -> None:
    for file in Path("poor").rglob("vt.jsonl"):
        file.write_text(file.read_text().replace("What is", "Who is"))
    assert stored("score", "ruler", "poor", "--out", "runs/else") == 0
    capsys.readouterr()
    assert stored("compare", "runs/good", "runs/else") == 2
    assert "corpus samples/vt@4096" in capsys.readouterr().err
    assert stored("leaderboard", "runs/good", "runs/else", "--format", "csv") == 0
    assert "Other protocol" in capsys.readouterr().out


def test_an_unfinished_set_is_compared_on_what_it_has(stored: Evalkit, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("poor/4096/pred/vt.jsonl")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:30]))
    assert stored("score", "ruler", "poor", "--out", "runs/cut") == 0
    assert stored("compare", "runs/good", "runs/cut") == 0
    pairing = pair_runs(load_run(Path("runs/good")), load_run(Path("runs/cut")))
    assert [len(row.pairs) for row in pairing.rows] == [30, 40]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("good", "--model", "lab/x"), "--model lab/x: it names the model of a stored run; add --out"),
        (("good", "--out", "runs/good"), "runs/good already holds a run; choose another folder with --out"),
        (("good", "--out", "policy/run"), "cannot write to policy/run"),
    ],
)
def test_bad_input_is_one_line(
    stored: Evalkit, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    Path("policy").write_text("")
    assert stored("score", "ruler", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
