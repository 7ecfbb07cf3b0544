"""Suites on a model behind a server, from the command line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.running.model_options import ModelOptions
from model_adapters.opening import open_tokenizer
from model_adapters.served import client
from tests.model_adapters.served.fake_server import FakeServer, serve
from tests.support import Evalkit

MODEL = "--model served --tokenizer reference:hybrid"
NEEDLES = f"ruler --tasks niah_single_1,vt --ctx 512,1024 --samples 2 --out run {MODEL}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(client, "_FIRST_DELAY_SECONDS", 0.001)
    with serve() as fake:
        fake.tokenize = open_tokenizer(ModelOptions("reference:hybrid")).encode_prompt
        yield fake


def samples(folder: Path) -> dict[str, dict[str, object]]:
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["id"]: line for line in map(json.loads, lines)}


def test_a_run_on_a_server_is_stored_like_any_other(
    evalkit: Evalkit, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALKIT_SERVER_KEY", "sk-secret")
    shown = evalkit(NEEDLES, "--server", server.url)
    assert "model: served on a server, which does not show its weights" in shown.err
    assert server.keys == {"Bearer sk-secret"}
    record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    assert record["engine"]["engine"] == "server (fake 1.2)"
    assert record["timing"]["prefill_seconds"] is None
    assert len(samples(Path("run"))) == 6  # vt does not fit 512 tokens
    for file in Path("run").rglob("*"):
        assert file.is_dir() or b"sk-secret" not in file.read_bytes()
    assert "unknown, unknown" in evalkit("show run --sample niah_single_1/512/0/42").out
    whole = evalkit("show run --sample niah_single_1/512/0/42 --format json").json()
    assert len(json.dumps(whole)) > 512, "the prompt is built again with the tokenizer of the run"
    assert "no significant difference" in evalkit("compare run run --format markdown").out
    assert record["counts"] == {"n": 6, "errors": 0, "unscored": 0}


def test_a_name_that_only_the_server_knows_needs_a_tokenizer(evalkit: Evalkit, server: FakeServer) -> None:
    refusal = evalkit.refuses("ruler --ctx 512 --model ./served --server", server.url)
    assert refusal.startswith("'./served': no such directory; ")
    assert refusal.endswith(", or name the tokenizer of the served model with --tokenizer")


def test_a_run_goes_on_once_the_server_is_back(evalkit: Evalkit, server: FakeServer) -> None:
    server.fault = lambda body, before: (503, {}) if len(server.bodies) > 6 else None
    evalkit(NEEDLES, "--batch", "1", "--server", server.url, code=3)
    broken = samples(Path("run"))
    assert any(line["error"] for line in broken.values())
    server.fault = lambda body, before: None
    evalkit(NEEDLES, "--resume", "--server", server.url)
    whole = samples(Path("run"))
    assert not any(line["error"] for line in whole.values())
    assert {name: whole[name]["prompt_sha256"] for name in broken} == {n: s["prompt_sha256"] for n, s in broken.items()}


def test_suites_that_need_log_probabilities(evalkit: Evalkit, server: FakeServer) -> None:
    Path("text.txt").write_text("Once upon a time there was a server. " * 40, encoding="utf-8")
    loss = f"loss text.txt --ctx 128 {MODEL} --server {server.url} --out loss"
    evalkit(loss)
    assert json.loads(Path("loss/run.json").read_text(encoding="utf-8"))["results"][0]["value"] > 0
    server.gives_log_probabilities = False
    asked = len(server.bodies)
    assert evalkit.refuses(f"{loss}2") == (
        f"loss asks for log-probabilities of given text, and the server at {server.url} gives none; use a server that "
        "takes echo with logprobs, or a suite that generates, such as ruler"
    )
    assert len(server.bodies) == asked + 2, "only what the server takes was asked"
    assert not Path("loss2").exists() or not os.listdir("loss2")
