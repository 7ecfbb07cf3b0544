"""Records survive a round trip through JSON, and invalid records are refused with the field's name."""

import dataclasses
import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import (
    CorpusUse,
    Manifest,
    PositionScheme,
    ResultRow,
    RunRecord,
    RunStart,
    SampleRecord,
    SessionList,
    UnscoredCell,
)
from evalkit.records.codec import MAX_NESTING, RecordError, from_dict, from_json, parse_json, to_dict, to_json

ROW = ResultRow("vt", 4096, "all", 50.0, 2, (25.0, 75.0))

finite = st.floats(allow_nan=False, allow_infinity=False)
sample_records = st.builds(
    SampleRecord,
    depths=st.lists(finite).map(tuple),
    score=st.none() | finite,
    prefill_seconds=finite,
    decode_seconds=finite,
)


@given(sample_records)
def test_a_sample_record_survives(record: SampleRecord) -> None:
    assert from_json(SampleRecord, to_json(record)) == record


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"]) | st.characters(categories=["Cs"])))
def test_any_text_becomes_one_line_that_utf_8_can_hold(text: str) -> None:
    written = to_json(UnscoredCell(text, 0, ""))
    assert len(written.splitlines()) == 1
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in written)
    # JSON readers combine two adjacent lone surrogates into one character.
    assert from_json(UnscoredCell, written.encode().decode()).task == text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "surrogatepass"
    )


@pytest.mark.parametrize(("field", "value"), [("ctx", "\ud800"), ("reason", "\ud800"), ("\ud800", 1)])
def test_half_a_surrogate_pair_is_text_or_refused(field: str, value: object) -> None:
    text = json.dumps({"task": "vt", "ctx": 4096, "reason": "", field: value})
    if field == "reason":
        assert from_json(UnscoredCell, text).reason == value
        return
    with pytest.raises(RecordError, match="UnscoredCell: half of a surrogate pair"):
        from_json(UnscoredCell, text)


def test_numbers_of_numpy_are_written_as_those_of_python() -> None:
    assert to_json(dataclasses.replace(ROW, value=np.float64(12.5))) == to_json(dataclasses.replace(ROW, value=12.5))


def test_what_json_cannot_hold_is_not_written() -> None:
    with pytest.raises(TypeError, match="a record cannot hold complex"):
        to_json(dataclasses.replace(ROW, value=1j))


@pytest.mark.parametrize("cls", [Manifest, RunRecord, RunStart, SampleRecord, SessionList])
def test_no_stored_record_refuses_words_of_a_newer_version(cls: type) -> None:
    """A Literal would: it becomes an enumeration in the JSON schema."""
    assert '"enum"' not in json.dumps(msgspec.json.schema(cls))


@pytest.mark.parametrize("field", ["ctx", "value", "added_later"])
def test_integers_that_no_float_holds_are_refused(field: str) -> None:
    text = json.dumps({**to_dict(ROW), field: 10**400})
    with pytest.raises(RecordError, match=r"not JSON: 10000000000000000000… is too large"):
        from_json(ResultRow, text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(dataclasses.replace(ROW, value=value))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_not_read(constant: str) -> None:
    with pytest.raises(RecordError):
        from_json(ResultRow, to_json(ROW).replace("50.0", constant))


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    data = json.loads(to_json(ROW)) | {"added_later": 1}
    del data["errors"]
    assert from_dict(ResultRow, data) == ROW


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ctx": "4096"}, "ResultRow.ctx: expected int, got str"),
        ({"ctx": True}, "ResultRow.ctx: expected int, got bool"),
        ({"ctx": 4096.0}, "ResultRow.ctx: expected int, got float"),
        ({"value": "50"}, "ResultRow.value: expected float | null, got str"),
        ({"value": False}, "ResultRow.value: expected float | null, got bool"),
        ({"value": 10**400}, "ResultRow.value: number out of range"),
        ({"ci95": [1.0]}, "ResultRow.ci95: expected array of length 2, got 1"),
        ({"ci95": 3}, "ResultRow.ci95: expected array | null, got int"),
        ({"task": None}, "ResultRow.task: expected str, got null"),
    ],
)
def test_a_wrong_type_is_refused_by_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError) as error:
        from_dict(ResultRow, json.loads(to_json(ROW)) | change)
    assert str(error.value).startswith(message)
    assert len(str(error.value)) < 200


def test_a_missing_field_is_named() -> None:
    data = to_dict(ROW)
    del data["metric"]
    with pytest.raises(RecordError, match="ResultRow: object missing required field metric"):
        from_dict(ResultRow, data)


@pytest.mark.parametrize("text", ["", "{", "[1,", "nul", '{"n": ' + "9" * 5000 + "}"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="not JSON"):
        from_json(ResultRow, text)


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_that_no_record_has_is_refused(depth: int, opening: str, closing: str) -> None:
    text = opening * depth + "1" + closing * depth
    for written in (text, text.encode()):
        with pytest.raises(RecordError, match="nested more than 200 levels deep"):
            parse_json(written)


def test_nesting_up_to_the_limit_and_many_brackets_side_by_side_are_read() -> None:
    assert parse_json("[" * MAX_NESTING + "]" * MAX_NESTING)
    assert len(parse_json("[" + "[]," * 5000 + "[]]")) == 5001


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == parse_json('\ufeff{"a": 1}') == {"a": 1}


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(RecordError, match="not UTF-8"):
        parse_json(b'{"a": "\xff"}')


def test_numbers_that_are_none_are_read_if_requested() -> None:
    assert math.isnan(parse_json("[NaN]", finite=False)[0])


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="expected object"):
        from_json(ResultRow, text)


def test_nested_records_name_their_own_field() -> None:
    row = to_dict(CorpusUse("essays", "novels", "ab", "x.txt")) | {"sha256": 3}
    with pytest.raises(RecordError, match=r"RunRecord\.corpora\[0\]\.sha256: expected str, got int"):
        from_dict(RunRecord, {"corpora": [row], **_without("corpora")})


def test_a_word_of_a_newer_version_is_kept_as_text() -> None:
    read = from_dict(SampleRecord, _sample() | {"finish_reason": "melted", "failure": "wrong_needle_twice"})
    assert (read.finish_reason, read.failure) == ("melted", "wrong_needle_twice")
    identity = _without("config")["model"]
    scheme = from_dict(PositionScheme, identity["positions"] | {"kind": "spiral"})
    assert json.loads(to_json(scheme))["kind"] == "spiral"
    with pytest.raises(RecordError, match=r"PositionScheme\.kind: expected str, got int"):
        from_dict(PositionScheme, identity["positions"] | {"kind": 3})


def _sample() -> dict[str, Any]:
    return {
        **dict.fromkeys(("id", "task", "prompt_sha256", "prediction", "metric"), ""),
        **dict.fromkeys(("ctx", "index", "seed", "prompt_tokens", "completion_tokens"), 0),
        **{name: [] for name in ("depths", "gold_positions", "targets")},
        **dict.fromkeys(("score", "failure", "error", "unscored"), None),
        **dict.fromkeys(("prefill_seconds", "decode_seconds"), 0.0),
        "finish_reason": "stop",
    }


def _without(name: str) -> dict[str, Any]:
    """The fields of a run record before `name`, with values."""
    return {
        **dict.fromkeys(("schema", "run_id", "suite", "suite_version", "dialect"), ""),
        "seed": 0,
        "model": {
            **dict.fromkeys(("path", "family", "fingerprint", "tokenizer", "dtype"), ""),
            "positions": {"kind": "none", "description": ""},
            "trained_length": None,
            "parameters": 0,
        },
        "config": {},
        "config_passed": {},
    }
