"""`evalkit score ruler` and `evalkit ruler --prepare-only`, as a user types them."""

import json
import re
from pathlib import Path

import pytest

from suites.ruler import TASKS
from tests.support import Evalkit


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions" / "4096"
    folder.mkdir(parents=True)
    for task in TASKS:
        rows = [{"index": i, "pred": "is 7" if i else "is 8", "outputs": ["7"]} for i in range(2)]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder.parent


def test_scores_as_json(predictions: Path, evalkit: Evalkit) -> None:
    scored = evalkit("score ruler --format json", predictions).json()
    assert [(row["task"], row["ctx"], row["value"], row["n"]) for row in scored["results"]] == [
        (task, 4096, 50.0, 2) for task in TASKS
    ]
    assert scored["summary"][0]["mean"] == 50.0
    assert scored["figures"][0]["value"] == 0


def test_scores_as_a_table(predictions: Path, evalkit: Evalkit) -> None:
    shown = evalkit("score ruler", predictions).out
    assert "dialect nvidia" in " ".join(shown.split())
    assert re.search(r"niah_multikey_3\W+50\.0", shown)
    assert re.search(r"mean.* 50\.0", shown)


def test_a_mistake_in_predictions_is_one_line(predictions: Path, evalkit: Evalkit) -> None:
    (predictions / "4096" / "vt.jsonl").write_text("{")
    assert "vt.jsonl" in evalkit.refuses("score ruler", predictions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--prepare-only --baseline scripted:x", "--baseline is for a run, and --prepare-only writes all samples"),
        ("--prepare-only --shard 1/2", "--shard is for a run, and --prepare-only writes all samples"),
        ("--prepare-only --replicas 2", "--replicas is for a run, and --prepare-only writes all samples"),
        ("--data . --seed 7", "--seed 7: the samples of --data have been drawn already; leave --seed out"),
    ],
)
def test_options_without_a_meaning_are_refused(evalkit: Evalkit, options: str, message: str) -> None:
    assert evalkit.refuses(f"ruler --ctx 512 --model scripted:x {options}").startswith(message)
    assert not Path("samples").exists()


def test_prepared_samples_are_written_and_what_is_left_out_is_told(evalkit: Evalkit) -> None:
    shown = evalkit("ruler --ctx 512,1024 --tasks vt,cwe --samples 2 --prepare-only --out samples --model scripted:x")
    assert "wrote 4 samples to samples" in " ".join(shown.out.split())
    assert "left out: vt at 512" in shown.out + shown.err
    assert "left out: cwe at 512" in shown.out + shown.err
    assert sorted(path.as_posix() for path in Path("samples").rglob("*.jsonl")) == [
        "samples/1024/cwe/validation.jsonl",
        "samples/1024/vt/validation.jsonl",
    ]
