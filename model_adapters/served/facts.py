"""What a server states about itself: the models that it serves, its longest sequence, its name and version."""

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.errors import RequestFailedError
from model_adapters.served.client import ServerClient

_LISTED_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Names of the longest sequence in /v1/models: of vLLM and SGLang first, then of hosted servers."""
_OWN_PAGES = {"sglang": ("/server_info", "/get_server_info"), "llamacpp": ("/props",)}
"""Where a kind of server describes itself, by `owned_by` in /v1/models; SGLang's second page is the deprecated one."""
WINDOW_OPTIONS = "--max-model-len of vLLM, --context-length of SGLang, --ctx-size of llama.cpp"
"""The options that set the longest sequence of servers."""


def listed_models(client: ServerClient) -> list[Mapping[str, Any]]:
    """The entries of /v1/models; empty if the server has no such list."""
    listing = client.get("/v1/models")
    entries = listing.get("data") if isinstance(listing, Mapping) else None
    return [entry for entry in entries or () if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def listed(client: ServerClient, model: str) -> Mapping[str, Any]:
    """The model's entry in /v1/models; empty if there is none.

    Raises RequestFailedError if the server answers for any name, and lists the model under others.
    """
    entries = listed_models(client)
    for entry in entries:
        aliases = entry.get("aliases")
        names = [entry.get("id"), *(aliases if isinstance(aliases, list) else ())]
        # SGLang: a model and its LoRA adapter, as `model:adapter`.
        if model in names or model.partition(":")[0] in names:
            return entry
    if entries and all(map(_answers_for_any_name, entries)):
        known = ", ".join(str(entry.get("id"))[:80] for entry in entries)
        raise RequestFailedError(
            f"it lists {known} and not {model}, and answers for any name; pass a name that it lists"
        )
    return {}


def _answers_for_any_name(entry: Mapping[str, Any]) -> bool:
    """Whether the server of this entry in /v1/models answers with its model whatever name a request has."""
    return str(entry.get("owned_by")) in _OWN_PAGES


def describe_server(client: ServerClient, entry: Mapping[str, Any]) -> tuple[int | None, str]:
    """The longest sequence of prompt and answer in tokens, None if the server states none; and its name and version.

    `entry` is the model's in /v1/models. The name is `server`, with what the server states in brackets.
    """
    owner = str(entry.get("owned_by") or "")
    pages = (client.get(path) for path in _OWN_PAGES.get(owner, ("/version",)))
    stated: Mapping[str, Any] = next((page for page in pages if isinstance(page, Mapping)), {})
    version = str(stated.get("version") or stated.get("build_info") or "")
    named = " ".join(part[:40] for part in (owner, version) if part)
    windows = _windows(owner, entry, stated)
    return min(windows, default=None), f"server ({named})" if named else "server"


def _windows(owner: str, entry: Mapping[str, Any], stated: Mapping[str, Any]) -> Iterator[int]:
    yield from _numbers(entry, *_LISTED_WINDOWS)
    if owner == "sglang":
        # All of its memory for keys and values, which may hold less than one sequence of that length.
        yield from _numbers(stated, "context_length", "max_total_num_tokens")
    elif owner == "llamacpp":
        # `n_ctx_train` is the length that the model was trained for. `n_ctx` is that of each slot.
        yield from _numbers(entry.get("meta"), "n_ctx")
        yield from _numbers(stated.get("default_generation_settings"), "n_ctx")


def _numbers(values: Any, *names: str) -> list[int]:
    if not isinstance(values, Mapping):
        return []
    return [values[name] for name in names if type(values.get(name)) is int and values[name] > 0]
