"""A checkpoint folder: the name in --model, its config.json, and its sidecar."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records.codec import RecordError, parse_json
from evalkit.running.model_options import REFERENCE_PREFIX
from model_adapters import hub, reference

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
SIDECAR = "evalkit.json"
LFS_POINTER = b"version https://git-lfs"
GGUF_REMEDY = "GGUF is not supported; name the safetensors checkpoint that it was made from"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """evalkit.json, an optional file next to config.json with facts that no other file of a checkpoint states."""

    trained: bool = True
    """False for random weights, which every report then states."""
    tokens_seen: int | None = None
    """Training tokens of the weights, if known."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A folder with the changes that a fine-tuning with peft made to another checkpoint."""

    folder: Path
    snapshot: hub.HubSnapshot | None
    """The same on the hub; None for a local folder."""
    base: str
    """The checkpoint that it changes, as adapter_config.json names it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A readable folder with a config.json that names its architecture."""

    name: str
    """The --model that the user passed."""
    folder: Path
    config: Mapping[str, Any]
    """config.json as written, before transformers completes it."""
    sidecar: Sidecar
    snapshot: hub.HubSnapshot | None = None
    """The folder on the hub; None for a local one."""
    adapter: Adapter | None = None
    """The adapter to merge into the weights; `folder` is then that of its base model."""

    @property
    def family(self) -> str:
        """transformers' `model_type`."""
        return str(self.config["model_type"])

    @property
    def commit(self) -> str | None:
        """The commit of the model that the user named; None if it is not on the hub."""
        named = self.snapshot if self.adapter is None else self.adapter.snapshot
        return None if named is None else named.commit

    @property
    def base(self) -> str | None:
        """The model that an adapter is merged into, with its commit; None if there is no adapter."""
        if self.adapter is None:
            return None
        commit = "" if self.snapshot is None else f" (commit {self.snapshot.commit})"
        return f"{self.adapter.base}{commit}"


def open_checkpoint(model: str, *, trust_remote_code: bool) -> Checkpoint:
    """Find what `model` names (a directory, a hub id, or reference:NAME), downloading no weights.

    Raises UsageError if there is no such model, if it cannot be read, and if config.json or evalkit.json is malformed.
    """
    folder, snapshot = find_local(model), None
    if folder is None:
        snapshot = hub.download_definition(model, trust_remote_code=trust_remote_code)
        folder = snapshot.folder
    names = _file_names(model, folder)
    if CONFIG not in names and ADAPTER_CONFIG in names:
        return _open_base(model, folder, snapshot, trust_remote_code=trust_remote_code)
    if CONFIG not in names:
        listed = None if snapshot is None else hub.repository_files(snapshot)
        raise UsageError(f"{model}: {_no_config(listed or names)}")
    config = read_object(model, folder / CONFIG)
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise UsageError(f"{model}: {CONFIG} has no model_type; add the name transformers has for the architecture")
    return Checkpoint(model, folder, config, _read_sidecar(model, folder / SIDECAR), snapshot)


def _file_names(model: str, folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except FileNotFoundError:  # a snapshot without a single file that was asked for
        return frozenset()
    except OSError as error:
        raise UsageError(f"{model}: cannot be read ({error.strerror}); check its permissions") from error


def _no_config(names: Iterable[str]) -> str:
    gguf = next((name for name in sorted(names) if name.lower().endswith(".gguf")), None)
    if gguf is not None:
        return f"holds {gguf}, and {GGUF_REMEDY}"
    return f"has no {CONFIG}; name the folder that save_pretrained wrote"


def _open_base(model: str, folder: Path, snapshot: hub.HubSnapshot | None, *, trust_remote_code: bool) -> Checkpoint:
    """The checkpoint that an adapter changes, under the adapter's name."""
    stated = read_object(model, folder / ADAPTER_CONFIG)
    base, revision = stated.get("base_model_name_or_path"), stated.get("revision")
    if not isinstance(base, str) or not base:
        raise UsageError(f"{model}: {ADAPTER_CONFIG} names no base_model_name_or_path; add the model that it changes")
    if isinstance(revision, str) and find_local(base) is None:
        base = f"{base}@{revision}"
    try:
        checkpoint = open_checkpoint(base, trust_remote_code=trust_remote_code)
    except UsageError as error:
        raise UsageError(f"{model}: {ADAPTER_CONFIG} names its base model, which cannot be opened: {error}") from error
    if checkpoint.adapter is not None:
        raise UsageError(f"{model}: its base model {base} is an adapter too; merge that into its own base first")
    sidecar = _read_sidecar(model, folder / SIDECAR) if (folder / SIDECAR).exists() else checkpoint.sidecar
    return replace(checkpoint, name=model, sidecar=sidecar, adapter=Adapter(folder, snapshot, base))


def find_local(model: str) -> Path | None:
    """The folder of a local model, None for a hub id; UsageError if `model` can be neither."""
    if model.startswith(REFERENCE_PREFIX):
        folder = reference.folder(model.removeprefix(REFERENCE_PREFIX))
        if not folder.is_dir():
            raise UsageError(f"{model}: its files are missing from this installation; install evalkit again")
        return folder
    if (path := _existing(model)) is not None:
        if path.is_dir():
            return path
        remedy = GGUF_REMEDY if path.suffix.lower() == ".gguf" else "name the folder that holds it"
        raise UsageError(f"{model}: is a file; {remedy}")
    if model in reference.NAMES:
        raise UsageError(f"{model}: no such directory; did you mean '{REFERENCE_PREFIX}{model}'?")
    if not hub.is_hub_name(model):
        raise UsageError(
            f"{model!r}: no such directory; name a checkpoint folder, a hub id, ORG/NAME@REVISION or "
            f"{REFERENCE_PREFIX}hybrid"
        )
    return None


def _existing(model: str) -> Path | None:
    """The path `model`, if something exists there."""
    try:
        path = Path(model).expanduser()
        return path if model.strip() and path.exists() else None
    except OSError as error:
        raise UsageError(f"{model}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except RuntimeError as error:
        raise UsageError(f"{model}: there is no such user's home folder; write the path in full") from error


def read_object(model: str, path: Path) -> dict[str, Any]:
    """The JSON object in a checkpoint's file; UsageError, naming the model, if there is none."""
    try:
        value = parse_json(path.read_bytes(), finite=False)
    except OSError as error:
        raise UsageError(f"{model}: {path.name} cannot be read ({error.strerror}); check its permissions") from error
    except RecordError as error:
        raise UsageError(f"{model}: {path.name} is {error}; restore or repair it") from error
    if not isinstance(value, dict):
        raise UsageError(f"{model}: {path.name} holds a {type(value).__name__}, not an object; restore or repair it")
    return value


def refuse_lfs_pointer(model: str, file: Path) -> None:
    """Raise UsageError if a file holds only the name of its content, as `git clone` without Git LFS leaves it."""
    with file.open("rb") as opened:
        if opened.read(len(LFS_POINTER)) == LFS_POINTER:
            raise UsageError(f"{model}: {file.name} is a Git LFS pointer, not the file; run `git lfs pull` there")


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
