"""Values of settings are read once and alike, from text and from YAML."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.running.model_options import Dtype, read_model_options
from evalkit.values import ModelName, parse_contexts, read_value

NUMBERS, NAMES = tuple[int, ...], tuple[str, ...] | None


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("64K", int, 65536),
        ("1M", int, 1048576),
        ("4,200", NUMBERS, (4, 200)),
        (7, int | None, 7),
        ("-3", int, -3),
        (None, int | None, None),
        ("4096, 64k", NUMBERS, (4096, 65536)),
        ([4096, "64K"], NUMBERS, (4096, 65536)),
        (4096, NUMBERS, (4096,)),
        (" vt, cwe,vt,,", NAMES, ("vt", "cwe")),
        (["vt", "cwe"], NAMES, ("vt", "cwe")),
        ("0.5", float, 0.5),
        (2, float, 2.0),
        ("true", bool, True),
        (False, bool, False),
        ("nvidia", str, "nvidia"),
        ("bfloat16", Dtype, Dtype.BFLOAT16),
        ("a/b", Path | None, Path("a/b")),
    ],
)
def test_a_value_is_read_as_its_type(value: Any, hint: Any, expected: Any) -> None:
    read = read_value(value, hint, "x")
    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("big", int, "x: 'big' is not a whole number, such as 4096 or 64K"),
        ("4.5K", int, "x: '4.5K' is not a whole number"),
        ("9" * 5000, int, "is not a whole number"),
        ("\u0664", int, "is not a whole number"),
        (4.5, int, "x: 4.5 is not a whole number"),
        (True, int, "x: True is not a whole number"),
        ("4096,", NUMBERS, "x: '' is not a whole number"),
        ([[4096]], NUMBERS, "x: [4096] is not a whole number"),
        (" , ", NAMES, "x: ' , ' names nothing; separate names with commas"),
        ([3], NAMES, "x: 3 is not text"),
        ("nan", float, "x: 'nan' is not a number"),
        ("maybe", bool, "x: 'maybe' is not true or false"),
        (1, bool, "x: 1 is not true or false"),
        (1, str, "x: 1 is not text"),
        ("bfload16", Dtype, "x: 'bfload16' is unknown; did you mean 'bfloat16'?"),
        (3, Path, "x: 3 is not a path"),
        (None, int, "x: None is not a whole number"),
    ],
)
def test_what_is_no_such_value_is_named(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_value(value, hint, "x")
    assert message in str(raised.value)


def test_paths_and_models_are_relative_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    assert read_value("a", Path, "x", tmp_path) == tmp_path / "a"
    assert read_value("/a", Path, "x", tmp_path) == Path("/a")
    assert read_value("checkpoint", ModelName, "x", tmp_path) == str(tmp_path / "checkpoint")
    assert read_value("owner/name", ModelName, "x", tmp_path) == "owner/name"
    assert read_value("scripted:a", ModelName, "x", tmp_path) == f"scripted:{tmp_path / 'a'}"


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("65536", (65536,)),
        ("64K", (65536,)),
        (" 64k , 4096,16384, 4K", (4096, 16384, 65536)),
    ],
)
def test_context_lengths_are_sorted_and_single(text: str, lengths: tuple[int, ...]) -> None:
    assert parse_contexts(text) == lengths


@pytest.mark.parametrize(
    "text", ["", "x", "4096,", "-1", "0", "4.5K", "1e4", "4096;8192", "\u0664", "9" * 5000, "64 KB"]
)
def test_what_is_no_context_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a context length; write 65536, 64K or 4096,16384"):
        parse_contexts(text)


@given(st.lists(st.integers(1, 10**8), min_size=1), st.sampled_from([", ", " ,"]))
def test_written_lengths_are_read(lengths: list[int], comma: str) -> None:
    assert parse_contexts(comma.join(map(str, lengths))) == tuple(sorted(set(lengths)))


@pytest.mark.parametrize("name", ["--ctx", "suites.ruler.ctx"])
def test_a_context_length_with_commas_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: 131,072 would be several numbers; write 131072"):
        read_value("131,072", NUMBERS, name)
    assert read_value("512,768", NUMBERS, name) == (512, 768)


@given(st.integers(1000, 99_999))
def test_a_length_with_a_comma_between_thousands_is_refused(length: int) -> None:
    with pytest.raises(UsageError, match=f"write {length}$"):
        parse_contexts(f"{length:,}")


def test_options_of_a_model() -> None:
    options = read_model_options("m", {"batch": "4", "dtype": "float32", "skip_preflight": True}, where="suites.ruler.")
    assert (options.batch_sequences, options.dtype, options.skip_preflight) == (4, Dtype.FLOAT32, True)
    with pytest.raises(UsageError, match=r"suites\.ruler\.batch: 0 is too small; write 1 or more"):
        read_model_options("m", {"batch": 0}, where="suites.ruler.")
