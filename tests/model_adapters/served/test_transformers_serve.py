"""`transformers serve`, a server that is not ours, gives the same answers as this engine."""

import importlib.util
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import model_adapters.reference
from tests.chat_templates import OPENS
from tests.model_adapters.chat_model import save_chat_model
from tests.support import Evalkit, start_python

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "openai")),
    reason="transformers serve needs fastapi, uvicorn and openai",
)
MODEL = Path(model_adapters.reference.__file__).parent / "hybrid"
TASKS = "niah_single_1,vt,fwe"
SERVE = """
import os, sys
log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)
os.dup2(log, 1), os.dup2(log, 2)
from transformers.cli.transformers import main
sys.argv[0] = "transformers"
main()
"""
"""The server, which writes a line per request into a file: a pipe that nobody reads would fill up and stop it."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that loads in fp32 what is asked for."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
    with start_python("-c", SERVE, log, "serve", *options) as process:
        try:
            root = f"http://127.0.0.1:{port}"
            while process.poll() is None:
                try:
                    if httpx2.get(f"{root}/health").is_success:
                        break
                except httpx2.TransportError:
                    time.sleep(0.2)
            assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            yield root
        finally:
            process.kill()


def answers(folder: str) -> dict[str, tuple[str, int]]:
    lines = (Path(folder) / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["id"]: (line["prediction"], line["prompt_tokens"]) for line in map(json.loads, lines)}


def test_ruler_through_a_server_and_through_the_engine(evalkit: Evalkit, url: str) -> None:
    asked = f"ruler --tasks {TASKS} --ctx 1024 --samples 1"
    evalkit(f"{asked} --model {MODEL} --server {url} --batch 2 --out served")
    evalkit(f"{asked} --model reference:hybrid --dtype float32 --device cpu --out here")
    served = answers("served")
    assert len(served) == 3
    assert served == answers("here")
    assert "text instead of token ids" in Path("served/run.json").read_text(encoding="utf-8")


def test_the_server_and_the_engine_agree(evalkit: Evalkit, url: str) -> None:
    asked = "--ctx 512 --samples 2 --tasks niah_single_2,qa_1 --concurrency 2 --repeats 2 --new-tokens 4 --blocks 128"
    engine = "--model reference:hybrid --dtype float32 --device cpu --segment-tokens 200 --skip-preflight"
    found = evalkit(f"agree {engine} --server {url} --served-name {MODEL} {asked} --format json").json()
    assert (found["verdict"], found["findings"], found["failures"]) == ("agrees", [], [])
    assert not found["takes_token_ids"]
    counts = {(group["way"], group["what"]): (group["requests"], group["equal"]) for group in found["answers"]}
    assert counts["alone", "whole prompts"] == counts["repeated", "whole prompts"] == (2, 2)
    assert counts["under load", "ends at, before and after: engine segment of 200"] == (3, 3)


def test_a_suite_of_log_probabilities_is_refused(evalkit: Evalkit, url: str) -> None:
    Path("text.txt").write_text("Once upon a time. " * 90, encoding="utf-8")
    line = evalkit.refuses(f"loss text.txt --ctx 128 --model {MODEL} --server {url} --out loss")
    assert line.startswith("loss asks for log-probabilities of given text, and the server at")


def test_thoughts_through_a_server_and_through_the_engine(evalkit: Evalkit, url: str, tmp_path: Path) -> None:
    model = save_chat_model(tmp_path / "chat", OPENS)
    # Servers apply the settings of a checkpoint to requests that say nothing of them; an evaluation does not.
    settings = model / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "repetition_penalty": 3.0}))
    asked = "ruler --tasks niah_single_1 --ctx 1536 --samples 2 --skip-preflight"
    asked += f" --model {model} --chat prefill --thinking 24"
    evalkit(f"{asked} --server {url} --batch 2 --out served")
    evalkit(f"{asked} --dtype float32 --device cpu --out here")
    served, here = (
        [json.loads(line) for line in (Path(folder) / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
        for folder in ("served", "here")
    )
    names = ("id", "prediction", "thought", "thought_tokens", "thought_end", "completion_tokens", "failure", "error")
    assert [[line[name] for name in names] for line in sorted(served, key=lambda line: str(line["id"]))] == [
        [line[name] for name in names] for line in sorted(here, key=lambda line: str(line["id"]))
    ]
    assert {line["thought_end"] for line in here} == {"forced"}
    assert {line["failure"] for line in here} == {"cut_while_thinking"}
    assert all(line["thought"] for line in here)
