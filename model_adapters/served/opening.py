"""Open the model of --server, after finding out which requests the server supports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from evalkit.errors import RequestFailedError, UsageError
from evalkit.records import SERVED, ModelIdentity
from evalkit.running.model_options import ModelOptions
from evalkit.running.protocols import Adapter, Tokenizer
from model_adapters.served.adapter import GREEDY, Abilities, ServedAdapter, text_of
from model_adapters.served.answers import read_answer, read_answer_tokens, read_log_probabilities
from model_adapters.served.client import RejectedError, ServerClient
from model_adapters.served.facts import describe_server, listed

CONCURRENCY = 16
"""Number of concurrent requests."""
_NEUTRAL: Mapping[str, Mapping[str, float]] = {"vllm": {"repetition_penalty": 1.0}}
"""Parameters that a kind of server takes from the checkpoint unless a request sets them, by `owned_by`."""
_QUESTION = "The capital of France is"
_ANSWER_TOKENS: tuple[Mapping[str, Any], ...] = ({"logprobs": 1, "return_token_ids": True}, {"logprobs": 1})
"""Fields for ids and log-probabilities of the answer's tokens: those of vLLM and SGLang, then OpenAI's."""


def open_server(
    options: ModelOptions, tokenizer: Tokenizer, ctxs: Sequence[int], chat: Mapping[str, Any] = MappingProxyType({})
) -> tuple[ModelIdentity, Abilities, Callable[[], Adapter]]:
    """A server's model with its known identity, the requests that the server supports, and an adapter.

    `chat` are the fields of the identity that the chat template decides. Raises UsageError if the server does not
    answer, does not serve the model, reads prompts otherwise than `tokenizer` does, or has too short a window for
    `ctxs`.
    """
    assert options.server is not None
    concurrency = options.batch_sequences or CONCURRENCY
    server = options.server
    try:
        with ServerClient(server, connections=1) as client:
            abilities = find_abilities(client, options.model, tokenizer)
            if options.thinking and abilities.token_ids:
                # A thought is then continued with its own tokens.
                fields = find_answer_tokens(client, options.model, tokenizer)
                abilities = replace(abilities, answer_tokens=fields)
    except RequestFailedError as error:
        raise UsageError(f"--server {options.server}: {error}") from None
    refuse_short_window(server, options.model, abilities, ctxs)
    identity = served_identity(options.model, tokenizer, chat)

    def make_adapter() -> Adapter:
        return ServedAdapter(server, options.model, tokenizer, identity, abilities, concurrency=concurrency)

    return identity, abilities, make_adapter


def refuse_short_window(server: str, model: str, abilities: Abilities, ctxs: Sequence[int]) -> None:
    """Raise UsageError if the server states a longest sequence that is shorter than a context."""
    longest = max(ctxs, default=0)
    if abilities.max_tokens is not None and longest > abilities.max_tokens:
        raise UsageError(
            f"--server {server} reads at most {abilities.max_tokens:,} tokens of {model}, and the run has a context of "
            f"{longest:,}; start the server with a longer one"
        )


def served_identity(name: str, tokenizer: Tokenizer, chat: Mapping[str, Any] = MappingProxyType({})) -> ModelIdentity:
    """What is known of a served model: its name, its tokenizer, and in `chat` the fields that its template decides."""
    return replace(ModelIdentity.by_name(name, served_fingerprint(name), tokenizer.fingerprint), **chat)


def served_fingerprint(name: str) -> str:
    """Stands in for the fingerprint of weights, which servers do not report: runs are resumed under the same name."""
    return f"{SERVED}{name}"


def find_abilities(client: ServerClient, model: str, tokenizer: Tokenizer) -> Abilities:
    """Find out what the server supports with one short prompt in up to three forms; raises RequestFailedError."""
    ids = tokenizer.encode_prompt(_QUESTION)
    body = {"model": model, "max_tokens": 1, "temperature": 0.0, "stream": False}
    try:
        read_answer(client.complete({**body, "prompt": ids}), model=model, prompt_tokens=len(ids))
        token_ids = True
    except RejectedError:
        answer = client.complete({**body, "prompt": text_of(tokenizer, tuple(ids))})
        read_answer(answer, model=model, prompt_tokens=len(ids))
        token_ids = False
    entry = listed(client, model)
    max_tokens, engine = describe_server(client, entry)
    return Abilities(
        token_ids=token_ids,
        log_probabilities=token_ids and _gives_log_probabilities(client, {**body, "prompt": ids}, model),
        max_tokens=max_tokens,
        engine=engine,
        sampling={**GREEDY, **_NEUTRAL.get(str(entry.get("owned_by")), {})},
    )


def find_answer_tokens(client: ServerClient, model: str, tokenizer: Tokenizer) -> Mapping[str, Any]:
    """The fields of a request for which the server adds ids or log-probabilities of the answer's tokens."""
    ids = tokenizer.encode_prompt(_QUESTION)
    body = {"model": model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "stream": False}
    for fields in _ANSWER_TOKENS:
        try:
            answer = read_answer(client.complete({**body, **fields}), model=model, prompt_tokens=len(ids))
        except RequestFailedError:
            continue
        if any(read_answer_tokens(answer)):
            return fields
    return {}


def _gives_log_probabilities(client: ServerClient, body: Mapping[str, Any], model: str) -> bool:
    tokens = len(body["prompt"])
    try:
        answer = read_answer(client.complete({**body, "echo": True, "logprobs": 1}), model=model, prompt_tokens=tokens)
        read_log_probabilities(answer, tokens)
    except RequestFailedError:
        return False
    return True
