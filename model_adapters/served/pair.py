"""Open the two sides of a comparison: a checkpoint on this engine, and the server that should run the same one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalkit.analysis.agreement.rounding import Rounding
from evalkit.errors import RequestFailedError, UsageError
from evalkit.records import ModelIdentity, Request
from evalkit.running.model_options import ModelOptions
from evalkit.running.protocols import Adapter, Tokenizer
from model_adapters.served.adapter import Abilities, ServedAdapter
from model_adapters.served.answers import MisreadError
from model_adapters.served.client import ServerClient
from model_adapters.served.facts import listed_models
from model_adapters.served.opening import find_abilities, find_answer_tokens, refuse_short_window, served_identity

ROUNDING_TOKENS = 512
"""Length of the text on which the rounding error of the model's own code is measured."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server's model."""

    name: str
    abilities: Abilities
    alone: ServedAdapter
    """Asks for one answer at a time."""
    at_once: ServedAdapter


class ReferenceModel:
    """A checkpoint on this engine; raises UsageError if it cannot run, or if preflight stops it."""

    def __init__(self, options: ModelOptions, ctxs: Sequence[int]) -> None:
        from model_adapters.engine.engine import stop_ids
        from model_adapters.loading import load_model
        from model_adapters.opening import open_loaded

        loaded = load_model(options, ctxs)
        opened = open_loaded(options, loaded, loaded.identity)
        self.warnings = opened.warnings
        self.tokenizer: Tokenizer = opened.tokenizer
        self.identity: ModelIdentity = opened.identity
        self.end_ids = tuple(sorted(stop_ids(loaded.model)))
        self._model, self._make_adapter = loaded.model, opened.make_adapter

    def rounding(self, token_ids: Sequence[int]) -> Rounding:
        """The rounding error of transformers' own code in the model's dtype, on the beginning of a prompt."""
        from model_adapters.preflight.reference_pass import reference

        text = token_ids[:ROUNDING_TOKENS]
        return reference(self._model, text).rounding(text)

    def adapter(self, longest: Sequence[int], new_tokens: int) -> Adapter:
        """The engine, with its plan made for the longest prompt; raises UsageError if that fails."""
        adapter = self._make_adapter()
        (planned,) = adapter.generate([Request("plan", tuple(longest), new_tokens)])
        if planned.error is not None:
            raise UsageError(f"{self.identity.path}: {planned.error}; nothing can be compared")
        return adapter


def open_served(
    server: str, name: str | None, tokenizer: Tokenizer, *, concurrency: int, ctxs: Sequence[int], checkpoint: str
) -> Served:
    """The model `name` of a server; by default the only one that it lists, else `checkpoint`.

    Raises UsageError if the server does not answer, or has too short a window for `ctxs`. One that reads prompts
    otherwise than `tokenizer` is opened: that is a finding.
    """
    try:
        with ServerClient(server, connections=1) as client:
            known = [str(entry.get("id")) for entry in listed_models(client)]
            name = name or (known[0] if len(known) == 1 else checkpoint)
            abilities = _abilities(client, name, tokenizer)
    except RequestFailedError as error:
        raise UsageError(f"--server {server}: {error}") from None
    refuse_short_window(server, name, abilities, ctxs)
    identity = served_identity(name, tokenizer)

    def adapter(requests: int) -> ServedAdapter:
        return ServedAdapter(server, name, tokenizer, identity, abilities, concurrency=requests)

    return Served(name, abilities, adapter(1), adapter(concurrency))


def _abilities(client: ServerClient, name: str, tokenizer: Tokenizer) -> Abilities:
    try:
        found = find_abilities(client, name, tokenizer)
    except MisreadError:
        return Abilities(token_ids=True, log_probabilities=False)
    if not found.token_ids:
        return found
    return replace(found, answer_tokens=find_answer_tokens(client, name, tokenizer))
