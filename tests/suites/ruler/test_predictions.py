"""Predictions made elsewhere are scored as ours, and mistakes in them are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from suites.ruler import TASKS
from suites.ruler.predictions import NO_LENGTH, score_folder


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(index: int, pred: str, *outputs: str) -> dict[str, Any]:
    return {"index": index, "pred": pred, "input": "", "outputs": list(outputs), "others": {}, "length": 4090}


def test_predictions_in_folders_named_by_length(tmp_path: Path) -> None:
    for ctx, right in ((4096, 2), (8192, 1)):
        for task in TASKS:
            write(tmp_path / str(ctx) / f"{task}.jsonl", *[row(i, "X" if i < right else "y", "x") for i in range(2)])
    (tmp_path / "4096" / "summary.csv").write_text("not a prediction")
    scored = score_folder(tmp_path, "nvidia")
    assert [(row.ctx, row.mean, row.complete) for row in scored.summary] == [(4096, 100.0, True), (8192, 50.0, True)]
    assert scored.effective_length == 4096
    assert scored.derived["wavg_increasing"] == pytest.approx(200 / 3)
    assert scored.results[0].metric == "all"
    assert scored.results[-1].metric == "part"


def test_rulers_own_folder_of_predictions(tmp_path: Path) -> None:
    write(tmp_path / "4096" / "pred" / "vt.jsonl", row(0, "ABCDE", "ABCDE", "FGHIJ"))
    for path in (tmp_path, tmp_path / "4096", tmp_path / "4096" / "pred"):
        (result,) = score_folder(path, "nvidia").results
        assert (result.task, result.ctx, result.value, result.n) == ("vt", 4096, 50.0, 1)
        assert not score_folder(path, "nvidia").summary[0].complete


def test_without_a_folder_named_by_length_none_is_told(tmp_path: Path) -> None:
    write(tmp_path / "vt.jsonl", row(0, "ABCDE", "ABCDE"))
    assert score_folder(tmp_path, "nvidia").results[0].ctx == NO_LENGTH


def test_the_dialect_decides_the_metric(tmp_path: Path) -> None:
    write(tmp_path / "qa_1.jsonl", row(0, "denver broncos", "The Denver Broncos"))
    assert score_folder(tmp_path, "nvidia").results[0].value == 0
    assert score_folder(tmp_path, "olmes").results[0].value == 100


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"pred": "x", "outputs": ["x"]}, {"outputs": ["x"]}], r"vt\.jsonl:2: `pred` is missing"),
        ([{"pred": ["x"], "outputs": ["x"]}], r"vt\.jsonl:1: `pred` is \['x'\]"),
        ([{"pred": "x"}], r"vt\.jsonl:1: `outputs` is missing"),
        ([row(0, "x", "x"), row(1, "x", "x"), row(0, "x", "x")], r"vt\.jsonl:3: `index` 0 was on line 1 before"),
        ([{**row(0, "x", "x"), "index": [1]}], r"vt\.jsonl:1: `index` is \[1\]"),
        ([], r"vt\.jsonl holds no predictions"),
    ],
)
def test_malformed_and_repeated_lines_are_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    write(tmp_path / "vt.jsonl", *rows)
    with pytest.raises(UsageError, match=message):
        score_folder(tmp_path, "nvidia")


def test_a_file_that_names_no_task_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "niah_single_4.jsonl", row(0, "x", "x"))
    with pytest.raises(UsageError, match=r"'niah_single_4'; did you mean 'niah_single_\d'"):
        score_folder(tmp_path, "nvidia")


def test_a_task_found_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "4096" / "vt.jsonl", row(0, "x", "x"))
    write(tmp_path / "4096" / "pred" / "vt.jsonl", row(0, "x", "x"))
    with pytest.raises(UsageError, match="vt at 4,096 tokens was found before"):
        score_folder(tmp_path, "nvidia")


def test_nothing_to_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no predictions"):
        score_folder(tmp_path, "nvidia")
    with pytest.raises(UsageError, match="is not a folder"):
        score_folder(tmp_path / "absent", "nvidia")
    with pytest.raises(UsageError, match="unknown dialect 'nvidea'"):
        score_folder(tmp_path, "nvidea")
