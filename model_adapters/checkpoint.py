"""A checkpoint folder: what --model names, its config.json as written, its sidecar and its weights' files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from evalkit.errors import UsageError
from model_adapters import hub, reference

CONFIG = "config.json"
SIDECAR = "evalkit.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
REFERENCE_PREFIX = "reference:"
OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.ckpt", "*.msgpack", "*.h5")
LFS_POINTER = b"version https://git-lfs"
SAVE_AGAIN = "only safetensors are loaded: save the model again with transformers' save_pretrained, which writes them"


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
    config = _read_object(model, folder / CONFIG)
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise UsageError(f"{model}: {CONFIG} has no model_type; add the name transformers has for the architecture")
    return Checkpoint(model, folder, config, _read_sidecar(model, folder / SIDECAR))


def _find(model: str, *, with_weights: bool, trust_remote_code: bool) -> Path:
    if model.startswith(REFERENCE_PREFIX):
        return reference.folder(model.removeprefix(REFERENCE_PREFIX))
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UsageError(f"{model}: is a file; name the folder that holds it, with its {CONFIG}")
    if not re.fullmatch(hub.HUB_ID, model):
        raise UsageError(
            f"{model or repr(model)}: no such directory; name a checkpoint folder, a hub id or reference:hybrid"
        )
    return hub.download(model, with_weights=with_weights, trust_remote_code=trust_remote_code)


def _read_object(model: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{model}: {path.name} cannot be read ({error.strerror}); check its permissions") from error
    except ValueError as error:
        raise UsageError(f"{model}: {path.name} is not valid JSON ({error}); restore or repair it") from error
    if not isinstance(value, dict):
        raise UsageError(f"{model}: {path.name} holds a {type(value).__name__}, not an object; restore or repair it")
    return value


def _read_sidecar(model: str, path: Path) -> Sidecar:
    if not path.exists():
        return Sidecar()
    values = _read_object(model, path)
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


def weight_files(checkpoint: Checkpoint) -> tuple[Path, ...]:
    """The safetensors files that hold the weights, after the index where there is one; each header is read.

    Raises UsageError where there are none, where one is missing or cut off, and where transformers would load
    something else.
    """
    folder, name = checkpoint.folder, checkpoint.name
    if (folder / "adapter_config.json").exists():
        raise UsageError(
            f"{name}: holds an adapter beside its weights; merge it into them, or remove adapter_config.json"
        )
    if checkpoint.config.get("transformers_weights") is not None or any(folder.glob("shard-*-model-*.safetensors")):
        raise UsageError(
            f"{name}: its weights are not in {WEIGHTS} or {WEIGHTS_INDEX}; save the model again with save_pretrained"
        )
    if (folder / WEIGHTS).exists():
        files = [folder / WEIGHTS]
    elif (folder / WEIGHTS_INDEX).exists():
        files = [folder / WEIGHTS_INDEX, *_shards(checkpoint)]
    else:
        raise UsageError(_no_weights(checkpoint))
    for file in files:
        if file.suffix == ".safetensors":
            tensor_shapes(name, file)
    return tuple(files)


def tensor_shapes(name: str, file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a safetensors file's tensors, from its header; UsageError where it is missing or damaged."""
    if not file.exists():
        raise UsageError(f"{name}: {file.name} is missing; download or copy the checkpoint again")
    try:
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise UsageError(f"{name}: {file.name} is a Git LFS pointer, not the file; run `git lfs pull` there")
        with safe_open(file, framework="numpy") as tensors:
            return {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118  # not iterable itself
    except OSError as error:
        raise UsageError(f"{name}: {file.name} cannot be read ({error.strerror}); check its permissions") from error
    except SafetensorError as error:
        raise UsageError(f"{name}: {file.name} is damaged ({error}); download or copy it again") from error


def _shards(checkpoint: Checkpoint) -> list[Path]:
    index = _read_object(checkpoint.name, checkpoint.folder / WEIGHTS_INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UsageError(f"{checkpoint.name}: {WEIGHTS_INDEX} has no weight_map; download or copy it again")
    shards = sorted({str(shard) for shard in weight_map.values()})
    for shard in shards:
        # A path that leads elsewhere, or to another format, is nobody's honest index.
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise UsageError(
                f"{checkpoint.name}: {WEIGHTS_INDEX} names {shard!r}, no safetensors file beside it; {SAVE_AGAIN}"
            )
    return [checkpoint.folder / shard for shard in shards]


def _no_weights(checkpoint: Checkpoint) -> str:
    others = sorted(path.name for pattern in OTHER_WEIGHTS for path in checkpoint.folder.glob(pattern))
    if others:
        return f"{checkpoint.name}: has {others[0]} but no {WEIGHTS}; {SAVE_AGAIN}"
    return f"{checkpoint.name}: has no {WEIGHTS}; copy the weights there, or name another folder"
