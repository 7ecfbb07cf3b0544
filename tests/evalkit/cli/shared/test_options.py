"""Options are read once and alike in every command."""

from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from evalkit.cli.shared import options
from evalkit.cli.shared.options import parse_contexts, parse_counts, parse_names, passed_options
from evalkit.errors import UsageError


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


@pytest.mark.parametrize("text", ["", "x", "4096,", "-1", "0", "4.5K", "1e4", "4096;8192", "٤", "9" * 5000, "64 KB"])
def test_what_is_no_context_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a context length; write 65536, 64K or 4096,16384"):
        parse_contexts(text)


@given(st.lists(st.integers(1, 10**8), min_size=1))
def test_written_lengths_are_read(lengths: list[int]) -> None:
    assert parse_contexts(",".join(map(str, lengths))) == tuple(sorted(set(lengths)))


def test_counts_are_sorted_and_single() -> None:
    assert parse_counts("--updates", "64, 4,16,4") == (4, 16, 64)
    with pytest.raises(UsageError, match="--updates: 'x' is not a whole number"):
        parse_counts("--updates", "4,x")


def test_names_keep_their_order() -> None:
    assert parse_names(None) is None
    assert parse_names(" vt, cwe,vt,,") == ("vt", "cwe")
    with pytest.raises(UsageError, match="names nothing"):
        parse_names(" , ")


def test_only_given_options_count_as_passed() -> None:
    app = typer.Typer()
    seen: list[dict[str, object]] = []

    @app.command()
    def command(
        context: typer.Context,
        model: str = options.MODEL,
        out: Path | None = options.OUT,
        dtype: options.Dtype = options.DTYPE,
        resume: bool = options.RESUME,
        segment_tokens: int | None = options.SEGMENT,
    ) -> None:
        seen.append(passed_options(context))

    def passed(*arguments: str) -> dict[str, object]:
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return seen.pop()

    assert passed() == {}
    # Also where it is given as what it would be anyway: a named model runs 100 samples.
    assert passed("--model", options.DEFAULT_MODEL) == {"model": options.DEFAULT_MODEL}
    assert passed("--out", "a/b", "--dtype", "bfloat16", "--resume", "--segment-tokens", "64") == {
        "out": "a/b",
        "dtype": "bfloat16",
        "resume": True,
        "segment_tokens": 64,
    }
