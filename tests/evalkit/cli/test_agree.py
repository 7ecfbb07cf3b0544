"""`evalkit agree` from the command line: output, exit codes and bad input."""

from collections.abc import Iterator

import pytest

from model_adapters.served import client
from tests.model_adapters.served.fake_server import FakeServer, serve
from tests.support import Evalkit

AGREE = "agree --model reference:hybrid --device cpu --ctx 512 --skip-preflight"
SMALL = "--samples 1 --tasks niah_single_1 --new-tokens 1 --repeats 1 --concurrency 1 --blocks 200"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(client, "_FIRST_DELAY_SECONDS", 0.001)
    with serve() as fake:
        yield fake


def test_a_server_that_differs_exits_1_with_a_report(evalkit: Evalkit, server: FakeServer) -> None:
    server.reply = lambda ids: {"text": " nothing like it", "finish_reason": "length"}
    shown = evalkit(f"{AGREE} {SMALL} --server {server.url} --format markdown", code=1)
    assert shown.out.startswith("# agree · reference:hybrid against served on server (fake 1.2): differs")
    assert "> alone, whole prompts: 1 of 1 answers differ from the reference's" in shown.out
    assert "| niah\\_single\\_1/512/0/42 |" in shown.out or "niah_single_1/512/0/42" in shown.out
    assert "- command: evalkit agree --model reference:hybrid" in shown.out
    assert "repeated" not in shown.out.split("## First differing")[0].split("| --- |")[-1]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--blocks 0", "--blocks 0: 0 is too small; write 1 or more"),
        ("--blocks few", "--blocks: 'few' is not a whole number, such as 4096 or 64K"),
        ("--server localhost:8000", "--server 'localhost:8000' is no URL of a server"),
        ("--tasks nothing", "unknown task 'nothing'"),
    ],
)
def test_bad_input_is_one_line(evalkit: Evalkit, server: FakeServer, options: str, line: str) -> None:
    assert evalkit.refuses(f"{AGREE} {SMALL} --server {server.url} {options}").startswith(line)
    assert server.bodies == []


def test_a_server_that_is_not_there_exits_2(evalkit: Evalkit, server: FakeServer) -> None:
    assert "the server failed 6 times" in evalkit.refuses(f"{AGREE} {SMALL} --server http://127.0.0.1:1")
