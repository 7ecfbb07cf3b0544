"""What a server states about itself: the models that it serves, its longest sequence, its name and version."""

from collections.abc import Iterator, Mapping
from typing import Any

from model_adapters.served.client import ServerClient

_LISTED_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Names of the longest sequence in /v1/models: of vLLM and SGLang first, then of hosted servers."""
_SGLANG_WINDOWS = ("context_length", "max_total_num_tokens")
WINDOW_OPTIONS = "--max-model-len of vLLM, --context-length of SGLang, --ctx-size of llama.cpp"
"""The options that set the longest sequence of servers."""


def listed_models(client: ServerClient) -> list[Mapping[str, Any]]:
    """The entries of /v1/models; empty if the server has no such list."""
    listing = client.get("/v1/models")
    entries = listing.get("data") if isinstance(listing, Mapping) else None
    return [entry for entry in entries or () if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def listed(client: ServerClient, model: str) -> Mapping[str, Any]:
    """The model's entry in /v1/models; empty if there is none."""
    return next((entry for entry in listed_models(client) if entry.get("id") == model), {})


def longest_sequence(client: ServerClient, entry: Mapping[str, Any]) -> int | None:
    """Longest sequence of prompt and answer in tokens that the server states; None if it states none.

    The list of llama.cpp has the length that the model was trained for, which is not the server's: /props has that.
    """
    return min(_windows(client, entry), default=None)


def _windows(client: ServerClient, entry: Mapping[str, Any]) -> Iterator[int]:
    yield from _numbers(entry, _LISTED_WINDOWS)
    owner = str(entry.get("owned_by"))
    if owner == "sglang":
        yield from _numbers(client.get("/get_server_info"), _SGLANG_WINDOWS)
    elif owner == "llamacpp":
        properties = client.get("/props")
        stated = properties.get("default_generation_settings") if isinstance(properties, Mapping) else None
        # Each slot has as many; `n_ctx` of the whole server would be all slots together.
        yield from _numbers(stated, ("n_ctx",))


def _numbers(values: Any, names: tuple[str, ...]) -> list[int]:
    if not isinstance(values, Mapping):
        return []
    return [values[name] for name in names if type(values.get(name)) is int and values[name] > 0]


def engine_name(client: ServerClient, entry: Mapping[str, Any]) -> str:
    """`server`, with the name and version of the server software if it states them."""
    owner = str(entry.get("owned_by") or "")
    told = client.get("/version")
    version = str(told.get("version") or "") if isinstance(told, Mapping) else ""
    named = " ".join(part[:40] for part in (owner, version) if part)
    return f"server ({named})" if named else "server"
