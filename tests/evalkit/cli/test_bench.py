"""`evalkit bench` prints a line per row and a table, stores the record, and refuses bad input in one line."""

import json
import re
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from model_adapters.bench import ceilings, shapes
from tests.model_adapters.small_models import byte_tokenizer, small_model
from tests.support import Evalkit


@pytest.fixture(autouse=True)
def small_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.SHAPES, "small", lambda: small_model("olmo_hybrid").config)
    monkeypatch.setattr(ceilings, "CPU_PRODUCT_SIZE", 128)
    monkeypatch.setattr(ceilings, "CPU_COPY_BYTES", 2**20)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ("prefill --ctx 64,96 --segment-tokens 32 --repeats 2", 4),
        ("decode --ctx 64 --batch 1,2 --steps 3", 4),
        ("kernels --ctx 64 --repeats 2", 6),
        ("suite --ctx 48 --samples 2", 2),
    ],
)
def test_every_mode_ends_in_a_table_and_writes_its_record(evalkit: Evalkit, asked: str, rows: int) -> None:
    shown = evalkit(f"bench {asked} --shape small --json record.json")
    record = json.loads(Path("record.json").read_text())
    mode = asked.split()[0]
    assert record["mode"] == mode
    assert record["model"] == "small"
    assert record["ceilings"]["product_flops"] > 0
    assert len(record["rows"]) == rows
    assert [row["failure"] for row in record["rows"]] == [None] * rows
    assert all(row["over_floor"] > 0 for row in record["rows"])
    assert len(shown.err.splitlines()) == rows
    assert f"bench {mode} · small" in shown.out
    assert "× floor" in shown.out


def test_a_suite_of_a_model_asks_rulers_questions(evalkit: Evalkit) -> None:
    shown = evalkit("bench suite --ctx 1024 --task vt --samples 1 --against none --json record.json").out
    (row,) = json.loads(Path("record.json").read_text())["rows"]
    assert row["case"] == "vt at 1,024 × 1"
    assert row["details"]["new_tokens"] == 30
    assert "samples/minute" in shown


def test_the_record_itself_is_printed_on_demand(evalkit: Evalkit) -> None:
    shown = evalkit("bench prefill --shape small --ctx 32 --repeats 1 --against none --format json")
    assert [row["case"] for row in shown.json()["rows"]] == ["32 tokens"]


def test_a_budget_ends_a_run_early(evalkit: Evalkit) -> None:
    shown = evalkit("bench prefill --shape small --ctx 32,64,96 --budget-seconds 1 --repeats 1000000")
    assert "stopped early" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prefill --shape huge", "--shape 'huge' is unknown; write one of olmo-hybrid-7b, olmo3-7b, small"),
        ("decode --shape small --batch 0", "--batch: 0 sequences decode nothing; write 1 or 1,32"),
        ("prefill --shape small --against vllm", "--against 'vllm' is unknown; write transformers or none"),
        ("products --shape small --device cpu", "products need a CUDA device, and this is cpu; use --device cuda"),
        # Refused before a model is made, which would not fit here.
        ("products --shape olmo3-7b --device cpu", "products need a CUDA device, and this is cpu; use --device cuda"),
        ("prefill --shape small --json /", "--json / cannot be written: Is a directory; name another file"),
    ],
)
def test_mistakes_are_one_line(evalkit: Evalkit, arguments: str, message: str) -> None:
    assert evalkit.refuses(f"bench {arguments}") == message


@pytest.mark.parametrize("mode", ["prefill", "decode", "suite"])
def test_lengths_beyond_the_models_positions_are_one_line(evalkit: Evalkit, mode: str) -> None:
    config = GPT2Config(vocab_size=288, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained("model")
    byte_tokenizer().save_pretrained("model")
    refusal = evalkit.refuses(f"bench {mode} --model ./model --ctx 48,65")
    assert re.search(r"context 65 is above 64 tokens, beyond which .*; use contexts of at most 64", refusal)
