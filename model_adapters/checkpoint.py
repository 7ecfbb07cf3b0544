"""A checkpoint folder: what --model names, its config.json as it is written, and its sidecar."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records.codec import RecordError, parse_json
from evalkit.running.model_options import REFERENCE_PREFIX
from model_adapters import hub, reference

CONFIG = "config.json"
SIDECAR = "evalkit.json"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """evalkit.json, an optional file beside config.json: what no other file of a checkpoint says."""

    trained: bool = True
    """False for random weights: every report of theirs says so."""
    tokens_seen: int | None = None
    """Training tokens behind the weights, where known."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A readable folder with a config.json that names its architecture."""

    name: str
    """What the user passed as --model."""
    folder: Path
    config: Mapping[str, Any]
    """config.json as it is written, before transformers completes it."""
    sidecar: Sidecar

    @property
    def family(self) -> str:
        """transformers' `model_type`."""
        return str(self.config["model_type"])


def open_checkpoint(model: str, *, with_weights: bool, trust_remote_code: bool) -> Checkpoint:
    """Find the folder of `model` (a directory, a hub id, or reference:NAME), downloading what is asked for.

    Weights are neither loaded nor checked here. Raises UsageError where there is no such model, where it cannot be
    read, and where config.json or evalkit.json is malformed.
    """
    folder = _find(model, with_weights=with_weights, trust_remote_code=trust_remote_code)
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise UsageError(f"{model}: cannot be read ({error.strerror}); check its permissions") from error
    if CONFIG not in names and "adapter_config.json" in names:
        raise UsageError(f"{model}: is an adapter, not a whole model; merge it into its base model and save that")
    if CONFIG not in names:
        raise UsageError(f"{model}: has no {CONFIG}; name the folder that save_pretrained wrote")
    config = read_object(model, folder / CONFIG)
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise UsageError(f"{model}: {CONFIG} has no model_type; add the name transformers has for the architecture")
    return Checkpoint(model, folder, config, _read_sidecar(model, folder / SIDECAR))


def _find(model: str, *, with_weights: bool, trust_remote_code: bool) -> Path:
    return find_local(model) or hub.download(model, with_weights=with_weights, trust_remote_code=trust_remote_code)


def find_local(model: str) -> Path | None:
    """The folder of a model that is on this machine, None for a hub id; UsageError if `model` can be neither."""
    if model.startswith(REFERENCE_PREFIX):
        folder = reference.folder(model.removeprefix(REFERENCE_PREFIX))
        if not folder.is_dir():
            raise UsageError(f"{model}: its files are missing from this installation; install evalkit again")
        return folder
    if (path := _existing(model)) is not None:
        if path.is_dir():
            return path
        raise UsageError(f"{model}: is a file; name the folder that holds it")
    if model in reference.NAMES:
        raise UsageError(f"{model}: no such directory; did you mean '{REFERENCE_PREFIX}{model}'?")
    if not re.fullmatch(hub.HUB_ID, model):
        raise UsageError(
            f"{model!r}: no such directory; name a checkpoint folder, a hub id or {REFERENCE_PREFIX}hybrid"
        )
    return None


def _existing(model: str) -> Path | None:
    """The path that `model` spells, where there is something."""
    try:
        path = Path(model).expanduser()
        return path if model.strip() and path.exists() else None
    except OSError as error:
        raise UsageError(f"{model}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except RuntimeError as error:
        raise UsageError(f"{model}: there is no such user's home folder; write the path in full") from error


def read_object(model: str, path: Path) -> dict[str, Any]:
    """The JSON object in a checkpoint's file; UsageError, naming the model, where there is none."""
    try:
        value = parse_json(path.read_bytes(), finite=False)
    except OSError as error:
        raise UsageError(f"{model}: {path.name} cannot be read ({error.strerror}); check its permissions") from error
    except RecordError as error:
        raise UsageError(f"{model}: {path.name} is {error}; restore or repair it") from error
    if not isinstance(value, dict):
        raise UsageError(f"{model}: {path.name} holds a {type(value).__name__}, not an object; restore or repair it")
    return value


def _read_sidecar(model: str, path: Path) -> Sidecar:
    if not path.exists():
        return Sidecar()
    values = read_object(model, path)
    expected: dict[str, tuple[type, str]] = {
        "trained": (bool, "true or false"),
        "tokens_seen": (int, "a whole number of tokens, 0 or more"),
        "note": (str, "a text"),
    }
    for key, value in values.items():
        if key not in expected:
            raise UsageError(f"{model}: {SIDECAR} has an unknown key {key!r}; it may have {', '.join(expected)}")
        kind, wanted = expected[key]
        if type(value) is not kind or (type(value) is int and value < 0):
            raise UsageError(f"{model}: {SIDECAR} has {key} = {json.dumps(value)}; write {wanted}")
    return Sidecar(**values)
