"""Predictions of other tools are scored like ours, and errors in them are reported."""

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from suites.ruler import TASKS
from suites.ruler.predictions import NO_LENGTH, read_predictions
from tests.evalkit.run_factory import figure_values


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
    scored = read_predictions(tmp_path, "nvidia").summary()
    assert [(row.ctx, row.mean, row.complete) for row in scored.summary] == [(4096, 100.0, True), (8192, 50.0, True)]
    assert figure_values(scored)["effective_length"] == 4096
    assert figure_values(scored)["wavg_increasing"] == pytest.approx(200 / 3)
    assert scored.results[0].metric == "all"
    assert scored.results[-1].metric == "part"


def test_rulers_own_folder_of_predictions(tmp_path: Path) -> None:
    write(tmp_path / "4096" / "pred" / "vt.jsonl", row(0, "ABCDE", "ABCDE", "FGHIJ"))
    for path in (tmp_path, tmp_path / "4096", tmp_path / "4096" / "pred"):
        (result,) = read_predictions(path, "nvidia").summary().results
        assert (result.task, result.ctx, result.value, result.n) == ("vt", 4096, 50.0, 1)
        assert not read_predictions(path, "nvidia").summary().summary[0].complete


def test_without_a_folder_named_by_length_none_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "vt.jsonl", row(0, "ABCDE", "ABCDE"))
    assert read_predictions(tmp_path, "nvidia").summary().results[0].ctx == NO_LENGTH


def test_the_dialect_decides_the_metric(tmp_path: Path) -> None:
    write(tmp_path / "qa_1.jsonl", row(0, "denver broncos", "The Denver Broncos"))
    assert read_predictions(tmp_path, "nvidia").summary().results[0].value == 0
    assert read_predictions(tmp_path, "olmes").summary().results[0].value == 100


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"pred": "x", "outputs": ["x"]}, {"outputs": ["x"]}], r"vt\.jsonl:2: `pred` is missing"),
        ([{"pred": ["x"], "outputs": ["x"]}], r"vt\.jsonl:1: `pred` is \['x'\]"),
        ([{"pred": "x"}], r"vt\.jsonl:1: `outputs` is missing"),
        (
            [row(0, "x", "x"), row(1, "x", "x"), row(0, "other", "x")],
            r"vt\.jsonl:3: `index` 0 was on line 1 before, with the same question; keep one of the two",
        ),
        ([{**row(0, "x", "x"), "index": [1]}], r"vt\.jsonl:1: `index` is \[1\]"),
        ([], r"vt\.jsonl holds no predictions"),
    ],
)
def test_malformed_and_repeated_lines_are_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    write(tmp_path / "vt.jsonl", *rows)
    with pytest.raises(UsageError, match=message):
        read_predictions(tmp_path, "nvidia")


def offset(index: int, key: str, value: str, pred: str) -> dict[str, Any]:
    """A line whose `index` is a needle's character offset, as RULER writes it since May 2025."""
    needle = f"One of the special magic numbers for {key} is: {value}."
    text = f"Remember.\n{needle}\nWhat is the special magic number for {key} mentioned in the provided text?"
    return {**row(index, pred, value), "input": text}


OFFSETS = [
    offset(205, "quiet-harbor", "4471902", "4471902"),
    offset(226, "brave-lantern", "8820713", "8820713"),
    offset(205, "tired-meadow", "5093316", "0000000"),
    offset(205, "calm-river", "1112223", "1112223"),
]


def ids(folder: Path) -> dict[str, str]:
    """Sample id -> question, for all predictions in a folder."""
    return {record.id: record.prompt_sha256 for record in read_predictions(folder, "nvidia").records}


def test_an_index_that_two_questions_share_loses_neither(tmp_path: Path) -> None:
    write(tmp_path / "4096" / "niah_single_1.jsonl", *OFFSETS)
    predictions = read_predictions(tmp_path, "nvidia")
    (result,) = predictions.summary().results
    assert (result.n, result.value) == (4, 75.0)
    assert len({record.id for record in predictions.records}) == 4
    assert predictions.records[1].id == "niah_single_1/4096/226/0"
    assert [record.failure for record in predictions.records] == [None, None, "other", None]
    assert all(len(record.depths) == 1 for record in predictions.records)


@pytest.mark.parametrize("lines", [OFFSETS, [row(index, "x", str(index)) for index in range(4)]])
def test_sets_of_predictions_on_the_same_data_have_the_same_ids(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    write(tmp_path / "whole" / "niah_single_1.jsonl", *lines)
    write(tmp_path / "other" / "niah_single_1.jsonl", *({**line, "pred": "y"} for line in reversed(lines)))
    write(tmp_path / "cut" / "niah_single_1.jsonl", *lines[:3])
    whole, other, cut = (ids(tmp_path / name) for name in ("whole", "other", "cut"))
    assert whole == other
    assert cut.items() <= whole.items()
    uses = [read_predictions(tmp_path / name, "nvidia").corpora[0].sha256 for name in ("whole", "other", "cut")]
    assert len(set(uses)) == 1


def test_lines_without_an_index_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "vt.jsonl", {"pred": "x", "outputs": ["x"]}, {"pred": "y", "outputs": ["x"]})
    assert list(ids(tmp_path)) == ["vt/0/0/0", "vt/0/1/0"]


def test_the_fingerprint_is_that_of_the_answers(tmp_path: Path) -> None:
    for name, pred in (("a", "x"), ("b", "x"), ("c", "y")):
        write(tmp_path / name / "vt.jsonl", row(0, pred, "x"))
    prints = [read_predictions(tmp_path / name, "nvidia").fingerprint for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_hidden_files_and_byte_order_marks_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "4096" / "vt.jsonl", row(0, "x", "x"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    path.with_name("._vt.jsonl").write_bytes(b"\x00\x05\x16\x07")
    assert len(ids(tmp_path)) == 1


def test_nesting_without_end_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "vt.jsonl", row(0, "x", "x"))
    path.write_bytes(path.read_bytes() + b'{"pred": ' + b"[" * 99_999 + b"]" * 99_999 + b"}\n")
    with pytest.raises(UsageError, match=r"vt\.jsonl:2: nested more than 200 levels deep"):
        read_predictions(tmp_path, "nvidia")


def test_a_file_that_names_no_task_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "niah_single_4.jsonl", row(0, "x", "x"))
    with pytest.raises(UsageError, match=r"'niah_single_4'; did you mean 'niah_single_\d'"):
        read_predictions(tmp_path, "nvidia")


def test_a_task_found_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "4096" / "vt.jsonl", row(0, "x", "x"))
    write(tmp_path / "4096" / "pred" / "vt.jsonl", row(0, "x", "x"))
    with pytest.raises(UsageError, match="vt at 4,096 tokens was found before"):
        read_predictions(tmp_path, "nvidia")


def test_nothing_to_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no predictions"):
        read_predictions(tmp_path, "nvidia")
    with pytest.raises(UsageError, match="is not a folder"):
        read_predictions(tmp_path / "absent", "nvidia")
    with pytest.raises(UsageError, match="unknown dialect 'nvidea'"):
        read_predictions(tmp_path, "nvidea")
