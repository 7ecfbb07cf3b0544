"""Thoughts of a served model: one request for the thought, one for the answer, recorded as one completion."""

from collections.abc import Iterator
from typing import Any

import pytest

from evalkit.records import Completion, Request, Thinking
from evalkit.running.model_options import ModelOptions
from evalkit.values import TokenBudget
from model_adapters.scripted import ScriptedAdapter, ScriptedReply, ScriptedTokenizer
from model_adapters.served import client
from model_adapters.served.opening import open_server
from tests.model_adapters.served.fake_server import FakeServer, serve

TOKENIZER = ScriptedTokenizer()
PROMPT, CLOSE = "Q: where? A: ", "\n</think>\n\n"
LONG = "well " * 30


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(client, "_FIRST_DELAY_SECONDS", 0.001)
    with serve() as fake:
        yield fake


def thinking_of(budget: int, *, opened: bool = True, prefix: str = "") -> Thinking:
    return Thinking(
        budget,
        "<think>",
        "</think>",
        tuple(TOKENIZER.encode(CLOSE + prefix)),
        tuple(TOKENIZER.encode(f"\n\n{prefix}")) if prefix else (),
        opened=opened,
        open_tokens=0 if opened else len(TOKENIZER.encode("<think>")) + 4,
        stop=("<|end|>",),
    )


def model_that_writes(server: FakeServer, stream: str, answer: str) -> None:
    """The model continues `stream` wherever it is cut, and gives `answer` after a thought that it has not closed."""

    def reply(ids: list[int]) -> dict[str, Any]:
        read, limit = TOKENIZER.decode(ids).removeprefix(PROMPT), server.bodies[-1]["max_tokens"]
        left = TOKENIZER.encode(stream[len(read) :] if stream.startswith(read) else answer)
        return {"text": TOKENIZER.decode(left[:limit]), "finish_reason": "length" if len(left) > limit else "stop"}

    server.reply = reply


def completion(server: FakeServer, request: Request) -> Completion:
    _, _, make = open_server(ModelOptions("served", server=server.url, batch_sequences=1), TOKENIZER, ())
    server.bodies.clear()
    (found,) = make().generate([request])
    assert found.error is None
    return found


def asked(budget: int, *, opened: bool = True, prefix: str = "", answer: int = 8) -> Request:
    return Request(
        "a",
        tuple(TOKENIZER.encode(PROMPT)),
        answer,
        stop=("<|end|>",),
        thinking=thinking_of(budget, opened=opened, prefix=prefix),
    )


@pytest.mark.parametrize(
    ("stream", "request_", "thought", "text", "end", "requests"),
    [
        ("hm.</think>\n\nin Rome", asked(50), "hm.", "in Rome", "closed", 1),
        ("<think>hm.</think>in Rome", asked(50, opened=False), "hm.", "in Rome", "closed", 1),
        ("hm.</think>\n\nin Rome", asked(50, prefix="It is"), "hm.", " here", "closed", 2),
        (f"hm.</think>{LONG}", asked(12), "hm.", LONG[:39], "closed", 2),
        (LONG, asked(5), "well well well well well", "here", "forced", 2),
        (LONG, asked(5, prefix="It is"), "well well well well well", " here", "forced", 2),
        (f"<think>{LONG}", asked(0, opened=False), "", "here", "forced", 2),
        (f"<think>{LONG}", asked(5, opened=False), "well well", "here", "forced", 2),
        ("in Rome<|end|>", asked(50, opened=False), "", "in Rome", "absent", 1),
        (LONG, asked(3, opened=False), "", LONG[:40].rstrip(), "absent", 1),
        ("hm.<|end|>", asked(50), "hm.", "", "unclosed", 1),
    ],
)
def test_two_requests_make_one_completion(
    server: FakeServer, stream: str, request_: Request, thought: str, text: str, end: str, requests: int
) -> None:
    model_that_writes(server, stream, " here")
    found = completion(server, request_)
    assert (found.thought, found.text, found.thought_end) == (thought, text, end)
    assert len(server.bodies) == requests
    assert server.bodies[0]["stop"] == ["<|end|>"]
    assert found.prompt_tokens == len(TOKENIZER.encode(PROMPT))
    thinking, budget = request_.thinking, request_.generation_tokens
    assert thinking is not None
    assert found.thought_tokens is not None
    assert found.thought_tokens <= thinking.most_tokens
    # The fake server always reports three tokens.
    written = 3 if end == "forced" or thinking.answer_ids else len(TOKENIZER.encode(found.text))
    assert found.completion_tokens == found.thought_tokens + written <= found.thought_tokens + budget
    if end == "forced":
        prompt = server.bodies[1]["prompt"]
        assert TOKENIZER.decode(prompt).startswith(f"{PROMPT}{'' if thinking.opened else '<think>'}{thought}")
        assert prompt[-len(thinking.close_ids) :] == list(thinking.close_ids)
        assert server.bodies[1]["max_tokens"] == budget


@pytest.mark.parametrize(
    ("stream", "text", "end"), [("<think>hm.", "here", "forced"), ("<thing> or two", "<thing", "absent")]
)
def test_an_opening_tag_may_be_longer_than_the_answer(server: FakeServer, stream: str, text: str, end: str) -> None:
    model_that_writes(server, stream, " here")
    assert len(TOKENIZER.encode("<think>")) == 3
    found = completion(server, asked(0, opened=False, answer=2))
    assert (found.text, found.thought_end) == (text, end)


def test_the_scripted_model_splits_as_a_server_does(server: FakeServer) -> None:
    for budget in (4, 40):
        request = asked(budget)
        model_that_writes(server, "one two three four five</think>here", "here")
        script = ScriptedAdapter({"a": ScriptedReply("here", thought="one two three four five")})
        (expected,) = script.generate([request])
        found = completion(server, request)
        assert (found.thought, found.text, found.thought_tokens, found.thought_end) == (
            expected.thought, expected.text, expected.thought_tokens, expected.thought_end,
        )  # fmt: skip


def test_a_server_that_takes_only_text_continues_the_thought(server: FakeServer) -> None:
    server.takes_ids, server.tokenize = False, TOKENIZER.encode_prompt
    model_that_writes(server, LONG, " here")
    found = completion(server, asked(5))
    assert (found.text, found.thought_end) == ("here", "forced")
    assert server.bodies[1]["prompt"] == f"{PROMPT}well well well well well{CLOSE}"


def test_a_server_that_gives_tokens_continues_its_own(server: FakeServer) -> None:
    """The model writes single characters, which a tokenizer would join."""

    def complete(body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        text = " here" if TOKENIZER.decode(ids).endswith(CLOSE) else "well well well"
        token_ids = [token_id for character in text for token_id in TOKENIZER.encode(character)]
        cut = token_ids[: body["max_tokens"]]
        reason = "length" if len(cut) < len(token_ids) else "stop"
        choice = {"text": TOKENIZER.decode(cut), "finish_reason": reason}
        return {**choice, "token_ids": cut} if body.get("return_token_ids") else choice

    server.complete = complete
    options = ModelOptions("served", server=server.url, batch_sequences=1, thinking=TokenBudget(6))
    _, abilities, make = open_server(options, TOKENIZER, ())
    assert abilities.answer_tokens["return_token_ids"] is True
    server.bodies.clear()
    request = asked(6)
    (found,) = make().generate([request])
    assert (found.thought, found.text, found.thought_end) == ("well w", "here", "forced")
    written = [token_id for character in "well w" for token_id in TOKENIZER.encode(character)]
    assert request.thinking is not None
    assert server.bodies[1]["prompt"] == [*request.token_ids, *written, *request.thinking.close_ids]
    assert found.thought_tokens == 6 + len(request.thinking.close_ids)
