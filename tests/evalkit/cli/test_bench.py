"""`evalkit bench`: a table last, a line a row on the way, the record in a file, and bad input in one line."""

import json
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

from evalkit.cli import app
from evalkit.errors import UsageError
from model_adapters.bench import shapes
from tests.model_adapters.small_models import byte_tokenizer, small_model

SMALL = ("--shape", "small")


@pytest.fixture(autouse=True)
def small_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.SHAPES, "small", lambda: small_model("olmo_hybrid").config)


def bench(*arguments: str) -> tuple[str, str]:
    """What a run prints on stdout and stderr; its mistakes are raised."""
    result = CliRunner().invoke(app, ["bench", *arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    if isinstance(result.exception, UsageError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.mark.parametrize(
    ("mode", "options", "rows"),
    [
        ("prefill", ("--ctx", "64,96", "--segment-tokens", "32", "--repeats", "2"), 4),
        ("decode", ("--ctx", "64", "--batch", "1,2", "--steps", "3"), 4),
        ("kernels", ("--ctx", "64", "--repeats", "2"), 6),
        ("suite", ("--ctx", "48", "--samples", "2"), 2),
    ],
)
def test_every_mode_ends_in_a_table_and_writes_its_record(
    mode: str, options: tuple[str, ...], rows: int, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    shown, told = bench(mode, *SMALL, *options, "--json", str(path))
    record = json.loads(path.read_text())
    assert record["mode"] == mode
    assert record["model"] == "small"
    assert record["ceilings"]["product_flops"] > 0
    assert len(record["rows"]) == rows
    assert [row["failure"] for row in record["rows"]] == [None] * rows
    assert all(row["over_floor"] > 0 for row in record["rows"])
    assert len(told.splitlines()) == rows
    assert f"bench {mode} · small" in shown
    assert "× floor" in shown


def test_a_suite_of_a_model_asks_rulers_questions(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    arguments = ("suite", "--ctx", "1024", "--task", "vt", "--samples", "1", "--against", "none", "--json", str(path))
    shown, _ = bench(*arguments)
    (row,) = json.loads(path.read_text())["rows"]
    assert row["case"] == "vt at 1,024 × 1"
    assert row["details"]["new_tokens"] == 30
    assert "samples a minute" in shown


def test_the_record_itself_is_printed_on_demand() -> None:
    shown, _ = bench("prefill", *SMALL, "--ctx", "32", "--repeats", "1", "--against", "none", "--format", "json")
    assert [row["case"] for row in json.loads(shown)["rows"]] == ["32 tokens"]


def test_a_budget_ends_a_run_early() -> None:
    shown, _ = bench("prefill", *SMALL, "--ctx", "32,64,96", "--budget-seconds", "1", "--repeats", "1000000")
    assert "stopped early" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prefill", "--shape", "huge"), "--shape 'huge' is unknown; write one of olmo-hybrid-7b, olmo3-7b, small"),
        (("decode", *SMALL, "--batch", "0"), "--batch: 0 sequences decode nothing; write 1 or 1,32"),
        (("prefill", *SMALL, "--against", "vllm"), "--against 'vllm' is unknown; write transformers or none"),
        (("prefill", *SMALL, "--json", "/"), "--json /: cannot be written (Is a directory); name another file"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        bench(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("mode", ["prefill", "decode", "suite"])
def test_lengths_beyond_the_models_positions_are_one_line(mode: str, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=288, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"context 65 is above 64 tokens, beyond which .*; use contexts of at most 64"):
        bench(mode, "--model", str(tmp_path), "--ctx", "48,65")
