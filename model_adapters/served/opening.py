"""Open the model of --server, after finding out which requests the server supports."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalkit.errors import RequestFailedError, UsageError
from evalkit.records import SERVED, UNKNOWN, ModelIdentity, PositionScheme
from evalkit.running.model_options import ModelOptions
from evalkit.running.protocols import Adapter, Tokenizer
from model_adapters.served.adapter import Abilities, ServedAdapter, text_of
from model_adapters.served.answers import read_answer, read_log_probabilities
from model_adapters.served.client import RejectedError, ServerClient

CONCURRENCY = 16
"""Number of concurrent requests."""
_QUESTION = "The capital of France is"
_WINDOW_FIELDS = ("max_model_len", "context_length", "n_ctx_train")
"""Names of the maximum sequence length in vLLM and SGLang, hosted servers, and llama.cpp."""


def open_server(
    options: ModelOptions, tokenizer: Tokenizer, ctxs: Sequence[int], chat_template: str | None = None
) -> tuple[ModelIdentity, Abilities, Callable[[], Adapter]]:
    """A server's model with its known identity, the requests that the server supports, and an adapter.

    Raises UsageError if the server does not answer, does not serve the model, reads prompts otherwise than `tokenizer`
    does, or has too short a window for `ctxs`.
    """
    assert options.server is not None
    concurrency = options.batch_sequences or CONCURRENCY
    server = options.server
    try:
        with ServerClient(server, connections=1) as client:
            abilities = find_abilities(client, options.model, tokenizer)
    except RequestFailedError as error:
        raise UsageError(f"--server {options.server}: {error}") from None
    longest = max(ctxs, default=0)
    if abilities.max_tokens is not None and longest > abilities.max_tokens:
        raise UsageError(
            f"--server {options.server} reads at most {abilities.max_tokens:,} tokens of {options.model}, and the run "
            f"has a context of {longest:,}; start the server with a longer one"
        )
    identity = ModelIdentity(
        path=options.model,
        family=UNKNOWN,
        fingerprint=served_fingerprint(options.model),
        tokenizer=tokenizer.fingerprint,
        dtype=UNKNOWN,
        positions=PositionScheme("other", UNKNOWN),
        trained_length=None,
        parameters=0,
        chat_template=chat_template,
    )

    def make_adapter() -> Adapter:
        return ServedAdapter(server, options.model, tokenizer, identity, abilities, concurrency=concurrency)

    return identity, abilities, make_adapter


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
    entry = _listed(client.get("/v1/models"), model)
    return Abilities(
        token_ids=token_ids,
        log_probabilities=token_ids and _gives_log_probabilities(client, {**body, "prompt": ids}, model),
        max_tokens=_window(entry),
        engine=_engine(client, entry),
    )


def _gives_log_probabilities(client: ServerClient, body: Mapping[str, Any], model: str) -> bool:
    tokens = len(body["prompt"])
    try:
        answer = read_answer(client.complete({**body, "echo": True, "logprobs": 1}), model=model, prompt_tokens=tokens)
        read_log_probabilities(answer, tokens)
    except RequestFailedError:
        return False
    return True


def _listed(listing: Any, model: str) -> Mapping[str, Any]:
    """The model's entry in /v1/models; empty if there is none."""
    entries = listing.get("data") if isinstance(listing, Mapping) else None
    found = (entry for entry in entries or () if isinstance(entry, Mapping) and entry.get("id") == model)
    return next(found, {})


def _window(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    places = (entry, meta) if isinstance(meta, Mapping) else (entry,)
    given = [place[name] for place in places for name in _WINDOW_FIELDS if isinstance(place.get(name), int)]
    return min(given, default=None)


def _engine(client: ServerClient, entry: Mapping[str, Any]) -> str:
    """`server`, with the name and version of the server software if it reports them."""
    owner = str(entry.get("owned_by") or "")
    told = client.get("/version")
    version = str(told.get("version") or "") if isinstance(told, Mapping) else ""
    named = " ".join(part[:40] for part in (owner, version) if part)
    return f"server ({named})" if named else "server"
