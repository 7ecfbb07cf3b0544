"""Predictions of other tools, stored as a run for the other commands."""

import json
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.analysis.pairing import pair_runs
from evalkit.records import Counts, MemoryUse, Timing
from tests.support import Evalkit


@pytest.fixture(autouse=True)
def predictions(tmp_path: Path) -> None:
    """The predictions `good` and `poor` of two models on the same data."""
    for name, right in (("good", 38), ("poor", 20)):
        for ctx in (4096, 8192):
            folder = tmp_path / name / str(ctx) / "pred"
            folder.mkdir(parents=True)
            lines = [
                {"index": n, "pred": f"{n}a" if n < right else "?", "input": f"What is {n}?", "outputs": [f"{n}a"]}
                for n in range(40)
            ]
            (folder / "vt.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def stored(evalkit: Evalkit) -> Evalkit:
    """Run `evalkit` in a folder where both are stored as runs."""
    evalkit("score ruler good --out runs/good --model lab/good")
    evalkit("score ruler poor --out runs/poor")
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
    assert (record.timing, record.memory) == (Timing(), MemoryUse())
    assert record.counts == Counts(n=80, errors=0, unscored=0)
    assert [(row.ctx, row.value, row.n) for row in record.results] == [(4096, 95.0, 40), (8192, 95.0, 40)]
    assert "the predictions were made by another tool" in record.warnings[0]
    assert set(run.samples) == {f"vt/{ctx}/{index}/0" for ctx in (4096, 8192) for index in range(40)}
    assert Path("runs/good/report.md").exists()


def test_show(stored: Evalkit) -> None:
    assert "unknown, fingerprint of its answers" in stored("show runs/good").out
    shown = stored("show runs/good --sample vt/4096/39/0").out
    assert "Excerpts of the prompt;" in shown
    assert "prefill, decode    unknown, unknown" in shown
    whole = stored("show runs/good --sample vt/4096/39/0 --format json").json()
    assert whole["prompt_missing"] == "the prompts were made by another tool; they are in good"
    assert stored("show runs/good --format json --html good.html --figures figures").json()["suite"] == "ruler"


def test_compare_pairs_the_samples(stored: Evalkit) -> None:
    pairing = pair_runs(load_run(Path("runs/good")), load_run(Path("runs/poor")))
    assert [len(row.pairs) for row in pairing.rows] == [40, 40]
    assert all(pair.same_prompt for pair in pairing.pairs())
    assert "-45.0" in stored("compare runs/good runs/poor").out


def test_gate_and_leaderboard(stored: Evalkit) -> None:
    Path("policy.yaml").write_text("rules: {ruler@4096: {max_drop: 5}}\n")
    stored("gate runs/good runs/good --policy policy.yaml")
    stored("gate runs/good runs/poor --policy policy.yaml", code=1)
    stored("gate --init runs/good --policy made.yaml")
    stored("gate runs/good runs/poor --policy made.yaml", code=1)
    board = stored("leaderboard runs --format csv").out
    assert "Models,1,lab/good" in board
    assert "Models,2,predictions:poor" in board


def test_other_data_are_another_protocol(stored: Evalkit) -> None:
    for file in Path("poor").rglob("vt.jsonl"):
        file.write_text(file.read_text().replace("What is", "Who is"))
    stored("score ruler poor --out runs/else")
    assert "corpus samples/vt@4096" in stored.refuses("compare runs/good runs/else")
    assert "Other protocol" in stored("leaderboard runs/good runs/else --format csv").out


def test_an_unfinished_set_is_compared_on_what_it_has(stored: Evalkit) -> None:
    file = Path("poor/4096/pred/vt.jsonl")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:30]))
    stored("score ruler poor --out runs/cut")
    stored("compare runs/good runs/cut")
    pairing = pair_runs(load_run(Path("runs/good")), load_run(Path("runs/cut")))
    assert [len(row.pairs) for row in pairing.rows] == [30, 40]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("good --model lab/x", "--model lab/x: it names the model of a stored run; add --out"),
        ("good --out runs/good", "runs/good already holds a run; choose another folder with --out"),
        ("good --out policy/run", "cannot write to policy/run"),
    ],
)
def test_bad_input_is_one_line(stored: Evalkit, arguments: str, said: str) -> None:
    Path("policy").write_text("")
    assert said in stored.refuses(f"score ruler {arguments}")
