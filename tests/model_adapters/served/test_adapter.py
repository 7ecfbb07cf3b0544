"""A served model: every request is answered once, and prompts that the server changed are not counted."""

from collections import Counter
from collections.abc import Iterator

import pytest

from evalkit.errors import UsageError
from evalkit.records import Completion, Request
from evalkit.running.model_options import ModelOptions
from model_adapters.opening import check_options, fingerprints, open_model
from model_adapters.scripted import ScriptedTokenizer
from model_adapters.served import client
from model_adapters.served.answers import Answer, read_answer_tokens
from model_adapters.served.opening import open_server
from tests.model_adapters.served.fake_server import FakeServer, log_probability, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(client, "_FIRST_DELAY_SECONDS", 0.001)
    with serve() as fake:
        yield fake


def options(server: FakeServer, concurrency: int | None = None) -> ModelOptions:
    return ModelOptions("served", server=server.url, batch_sequences=concurrency)


def answers(server: FakeServer, requests: list[Request], concurrency: int = 4) -> dict[str, Completion]:
    _, _, make = open_server(options(server, concurrency), ScriptedTokenizer(), ())
    server.bodies.clear()
    found = list(make().generate(requests))
    assert sorted(each.request_id for each in found) == sorted(request.id for request in requests)
    return {each.request_id: each for each in found}


def numbered(count: int) -> list[Request]:
    return [Request(str(index), (5, 6, index), 8) for index in range(count)]


def test_token_ids_are_sent_and_the_answer_is_taken(server: FakeServer) -> None:
    (answer,) = answers(server, [Request("a", (3, 4, 5), 8)]).values()
    greedy = {"temperature": 0.0, "frequency_penalty": 0.0}
    assert server.bodies == [{"model": "served", "prompt": [3, 4, 5], "stream": False, "max_tokens": 8, **greedy}]
    # vLLM's requests have the checkpoint's repetition penalty unless they set one.
    server.listing = {"owned_by": "vllm"}
    answers(server, [Request("a", (3, 4, 5), 8)])
    assert server.bodies[0] | {"repetition_penalty": 1.0, **greedy} == server.bodies[0]
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("answer to 12", 3, 3)
    assert (answer.prefill_seconds, answer.decode_seconds, answer.error) == (None, None, None)


@pytest.mark.parametrize("text", ["one\n\ntwo###three", "one"])
def test_stop_strings_are_sent_and_kept_out_of_the_answer(server: FakeServer, text: str) -> None:
    server.reply = lambda ids: {"text": text, "finish_reason": "length"}
    (answer,) = answers(server, [Request("a", (3, 4, 5), 8, stop=("###", "\n\n"))]).values()
    assert server.bodies[0]["stop"] == ["###", "\n\n"]
    assert (answer.text, answer.finish_reason) == ("one", "length" if text == "one" else "stop")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"prompt_tokens": 2}, "the server read 2 tokens; the prompt has 3"),
        ({"prompt_tokens": None}, "the server does not say how many tokens it read; the prompt has 3"),
        ({"model": "other"}, "'other' answered instead of served"),
        ({"finish_reason": "abort"}, "the answer ended with 'abort'"),
        ({"text": None}, "the server's answer has no text"),
        # SGLang and llama.cpp shorten an answer for which the sequence has no room.
        (
            {"finish_reason": "length", "completion_tokens": 6},
            "the server cut the answer after 6 of 8 tokens; start it with a longer sequence",
        ),
    ],
)
def test_what_the_server_did_otherwise_is_an_error(server: FakeServer, change: dict[str, object], error: str) -> None:
    server.reply = lambda ids: change if ids == [5, 6, 1] else {}
    found = answers(server, numbered(3))
    assert found["1"].error == error
    assert found["0"].error is found["2"].error is None


@pytest.mark.parametrize("fault", [(429, {"retry-after": "0"}), (503, {}), (429, {"retry-after": "soon"}), "drop"])
def test_a_busy_server_is_asked_again(server: FakeServer, fault: "tuple[int, dict[str, str]] | str") -> None:
    server.fault = lambda body, before: fault if before < 2 else None
    found = answers(server, numbered(3))
    assert [found[str(index)].text for index in range(3)] == ["answer to 11", "answer to 12", "answer to 13"]
    assert len(server.bodies) == 9


def test_a_server_that_stays_broken_and_one_that_refuses(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found_first = open_server(options(server), ScriptedTokenizer(), ())[2]()
    server.bodies.clear()
    server.fault = lambda body, before: (500 if body["prompt"][2] == 0 else 401, {})
    broken, refused = sorted(found_first.generate(numbered(2)), key=lambda each: each.request_id)
    assert broken.error == 'the server failed 6 times, last with HTTP 500: {"error": "no: Bearer [key]"}'
    assert refused.error == 'the server rejected the request: HTTP 401: {"error": "no: Bearer [key]"}'
    assert Counter(body["prompt"][2] for body in server.bodies) == {0: client.TRIES, 1: 1}
    assert server.keys == {"Bearer sk-secret"}


def test_only_as_many_requests_are_pulled_as_are_under_way(server: FakeServer) -> None:
    pulled = []
    stream = (pulled.append(request.id) or request for request in numbered(50))
    completions = open_server(options(server, 3), ScriptedTokenizer(), ())[2]().generate(stream)
    next(completions)
    assert len(pulled) <= 6
    completions.close()  # type: ignore[attr-defined]


def test_log_probabilities_of_a_text_and_of_continuations(server: FakeServer) -> None:
    text = Request("text", (3, 4, 5, 7), 0, scored_from=2)
    choices = Request("choices", (3, 4), 0, continuations=((5, 7), (6,)))
    found = answers(server, [text, choices])
    assert found["text"].log_probabilities == (log_probability(5), log_probability(7))
    assert found["text"].is_greedy is True
    first, second = found["choices"].continuations or ()
    assert first.log_probability == pytest.approx(log_probability(5) + log_probability(7))
    assert (first.is_greedy, second.is_greedy) == (True, False)


def test_a_server_that_takes_only_text(server: FakeServer) -> None:
    tokenizer = ScriptedTokenizer(adds_bos=True)
    server.takes_ids, server.tokenize = False, tokenizer.encode_prompt
    _, abilities, make = open_server(options(server), tokenizer, ())
    assert (abilities.token_ids, abilities.log_probabilities) == (False, False)
    ids = tuple(tokenizer.encode_prompt("What is it?"))
    right, wrong = make().generate([Request("a", ids, 4), Request("b", ids[1:], 4)])
    by_id = {each.request_id: each for each in (right, wrong)}
    assert by_id["a"].prompt_tokens == len(ids)
    assert server.bodies[-1]["prompt"] == "What is it?"
    assert by_id["b"].error == "the server takes only text, and no text is tokenized as this prompt is"


def test_a_server_that_tokenizes_otherwise_is_refused(server: FakeServer) -> None:
    server.takes_ids = False
    with pytest.raises(UsageError, match=r"the server read 24 tokens; the prompt has \d+"):
        open_server(options(server), ScriptedTokenizer(), ())


def test_a_window_that_is_too_short_is_refused(server: FakeServer) -> None:
    server.listing = {"max_model_len": 4096}
    assert open_server(options(server), ScriptedTokenizer(), (4096,))[1].max_tokens == 4096
    with pytest.raises(UsageError, match="reads at most 4,096 tokens of served, and the run has a context of 8,192"):
        open_server(options(server), ScriptedTokenizer(), (8192,))


@pytest.mark.parametrize(
    ("listing", "pages", "tokens"),
    [
        ({"owned_by": "vllm", "max_model_len": 4096}, {}, 4096),
        ({"owned_by": "sglang", "max_model_len": 4096}, {"/server_info": {"max_total_num_tokens": 2048}}, 2048),
        ({"owned_by": "sglang", "max_model_len": 4096}, {"/get_server_info": {"max_total_num_tokens": 2048}}, 2048),
        ({"owned_by": "sglang", "max_model_len": 4096}, {"/server_info": {"context_length": None}}, 4096),
        ({"owned_by": "llamacpp", "meta": {"n_ctx": 8192, "n_ctx_train": 131_072}}, {}, 8192),
        (
            {"owned_by": "llamacpp", "meta": {"n_ctx_train": 131_072}},
            {"/props": {"default_generation_settings": {"n_ctx": 8192}, "total_slots": 4}},
            8192,
        ),
        # One process that starts others states no length of its own.
        ({"owned_by": "llamacpp", "meta": None}, {"/props": {"default_generation_settings": {"n_ctx": 0}}}, None),
        ({"owned_by": "llamacpp", "meta": {"n_ctx_train": 131_072}}, {}, None),
        ({"context_length": 8192}, {}, 8192),
        ({"max_model_len": "long"}, {}, None),
    ],
)
def test_the_longest_sequence_of_each_kind_of_server(
    server: FakeServer, listing: dict[str, object], pages: dict[str, object], tokens: int | None
) -> None:
    server.listing, server.pages = listing, pages
    assert open_server(options(server), ScriptedTokenizer(), ())[1].max_tokens == tokens


@pytest.mark.parametrize(
    ("owner", "pages", "name"),
    [
        ("vllm", {"/version": {"version": "0.26.0"}}, "server (vllm 0.26.0)"),
        ("sglang", {"/server_info": {"version": "0.5.23"}}, "server (sglang 0.5.23)"),
        ("llamacpp", {"/props": {"build_info": "b8200-1a2b3c"}}, "server (llamacpp b8200-1a2b3c)"),
        ("llamacpp", {}, "server (llamacpp)"),
    ],
)
def test_name_and_version_of_each_kind_of_server(
    server: FakeServer, owner: str, pages: dict[str, object], name: str
) -> None:
    server.listing, server.pages = {"owned_by": owner}, pages
    assert open_server(options(server), ScriptedTokenizer(), ())[1].engine == name


@pytest.mark.parametrize("owner", ["sglang", "llamacpp"])
def test_a_server_that_answers_for_any_name_has_to_list_the_model(server: FakeServer, owner: str) -> None:
    server.listing = {"owned_by": owner, "id": "./other.gguf"}
    with pytest.raises(UsageError, match=r"it lists \./other\.gguf and not served, and answers for any name; "):
        open_server(options(server), ScriptedTokenizer(), ())
    for listing in ({"aliases": ["served"]}, {"id": "served"}):
        server.listing = {"owned_by": owner, "id": "./other.gguf", **listing}
        open_server(options(server), ScriptedTokenizer(), ())


def test_an_unknown_longest_sequence_is_one_warning(server: FakeServer) -> None:
    named = ModelOptions("served", server=server.url, tokenizer="reference:hybrid")
    assert open_model(named).warnings == (
        "the server's longest sequence is unknown; it is set by --max-model-len of vLLM, --context-length of SGLang, "
        "--ctx-size of llama.cpp; a prompt that is cut is an error",
    )


def test_what_is_known_of_a_served_model(server: FakeServer) -> None:
    identity, abilities, make = open_server(options(server), ScriptedTokenizer(), ())
    assert (identity.fingerprint, identity.dtype, identity.trained_length) == ("served:served", "unknown", None)
    assert abilities.engine == make().describe().engine == "server (fake 1.2)"
    assert make().memory().peak_bytes is None


def test_bad_addresses_are_one_line(server: FakeServer) -> None:
    for url, line in {
        "localhost:8000": "--server 'localhost:8000' is no URL of a server; write one such as http://localhost:8000",
        "http://me:pw@host/v1": "--server holds a user name, a password or a query, which would be stored with the run"
        "; write http://host and put the key into EVALKIT_SERVER_KEY",
    }.items():
        with pytest.raises(UsageError) as caught:
            check_options(ModelOptions("served", server=url))
        assert str(caught.value) == line
    with pytest.raises(UsageError, match="--tokenizer x goes with --server; a checkpoint has its own"):
        check_options(ModelOptions("served", tokenizer="x"))
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:1: the server failed 6 times, last with .*refused"):
        open_server(ModelOptions("served", server="http://127.0.0.1:1"), ScriptedTokenizer(), ())
    with pytest.raises(UsageError, match=r"rejected the request: HTTP 404: .*no model nobody"):
        open_server(ModelOptions("nobody", server=server.url), ScriptedTokenizer(), ())


def test_the_fingerprint_of_a_served_model_is_its_name(server: FakeServer) -> None:
    named = ModelOptions("served", server=server.url, tokenizer="reference:hybrid")
    assert fingerprints(named)[0] == "served:served"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"token_ids": [1, 2], "logprobs": {"token_logprobs": [-0.5, -1]}}, ((1, 2), (-0.5, -1))),
        ({"logprobs": {"content": [{"id": 7, "logprob": -0.25}]}}, ((7,), (-0.25,))),
        ({"logprobs": {"content": [{"token": " a", "logprob": -0.25}]}}, (None, (-0.25,))),
        ({"logprobs": {"token_logprobs": [None, -1.0]}, "token_ids": "12"}, (None, None)),
        ({"logprobs": None}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_tokens_of_an_answer_as_vllm_and_llama_cpp_give_them(choice: dict[str, object], expected: object) -> None:
    assert read_answer_tokens(Answer("", "stop", None, choice)) == expected
