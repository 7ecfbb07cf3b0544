"""The safetensors files of a checkpoint, checked by their headers before weights are read."""

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from evalkit.errors import UsageError
from model_adapters.checkpoint import ADAPTER_CONFIG, GGUF_REMEDY, Checkpoint, read_object, refuse_lfs_pointer
from model_adapters.hub import HubSnapshot, download_files, repository_files

WEIGHTS = "model.safetensors"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# Formats that are not loaded, the most likely first.
OTHER_WEIGHTS = (
    "*.safetensors",
    "pytorch_model*.bin",
    "*.gguf",
    "consolidated*.pth",
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.msgpack",
    "*.h5",
)
# Other files that trainers write in the same formats.
NOT_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|adapter)")
SAVE_AGAIN = "only safetensors are loaded: save the model again with transformers' save_pretrained, which writes them"


class TensorHeader(NamedTuple):
    """The header of a tensor in a safetensors file."""

    dtype: str
    """safetensors' own name: F32, BF16, F8_E4M3, I32, …"""
    shape: tuple[int, ...]


def weight_files(checkpoint: Checkpoint) -> tuple[Path, ...]:
    """The safetensors files that hold the weights, and their index if there is one; each header is read.

    Files of a hub checkpoint are downloaded first. Those of an adapter come last. Raises UsageError if there are no
    weights, if a file is missing or cut off, if two hold the same tensor, and if transformers would load something
    else.
    """
    folder, name = checkpoint.folder, checkpoint.name
    if (folder / ADAPTER_CONFIG).exists():
        raise UsageError(f"{name}: holds both weights and an adapter; merge it into them, or remove {ADAPTER_CONFIG}")
    if checkpoint.config.get("transformers_weights") is not None or any(folder.glob("shard-*-model-*.safetensors")):
        raise UsageError(
            f"{name}: its weights are not in {WEIGHTS} or {WEIGHTS_INDEX}; save the model again with save_pretrained"
        )
    files = _present(name, folder, checkpoint.snapshot, _weight_names(checkpoint))
    if checkpoint.adapter is not None:
        adapter = checkpoint.adapter
        files += _present(name, adapter.folder, adapter.snapshot, (ADAPTER_CONFIG, ADAPTER_WEIGHTS))
    holders: dict[str, Path] = {}
    for file in files:
        for tensor in tensor_headers(name, file) if file.suffix == ".safetensors" else ():
            if (other := holders.setdefault(tensor, file)) != file:
                # transformers takes the last one, whatever the index says.
                places = f"{other.name} and in {file.name}"
                raise UsageError(f"{name}: {tensor} is both in {places}; download or copy the checkpoint again")
    return files


def _weight_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The names of the files that transformers would load: repositories of the hub often hold the weights twice."""
    if (checkpoint.folder / WEIGHTS).exists() or not (checkpoint.folder / WEIGHTS_INDEX).exists():
        return (WEIGHTS,)
    return (WEIGHTS_INDEX, *_shards(checkpoint))


def _present(name: str, folder: Path, snapshot: HubSnapshot | None, files: tuple[str, ...]) -> tuple[Path, ...]:
    """Paths of files, downloaded if they are on the hub; UsageError naming the first that is missing there or here."""
    missing = [file for file in files if not (folder / file).exists()]
    if missing and snapshot is not None:
        listed = repository_files(snapshot)
        if listed is not None and (absent := [file for file in missing if file not in listed]):
            raise UsageError(f"{name}: {_missing(absent[0], listed)}")
        download_files(snapshot, missing)
        missing = [file for file in missing if not (folder / file).exists()]
    if missing:
        raise UsageError(f"{name}: {_missing(missing[0], {path.name for path in folder.iterdir()})}")
    return tuple(folder / file for file in files)


def tensor_headers(model: str, file: Path) -> dict[str, TensorHeader]:
    """Number formats and shapes of a safetensors file's tensors; UsageError if it is missing or damaged."""
    try:
        refuse_lfs_pointer(model, file)
        with safe_open(file, framework="numpy") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
            return {name: TensorHeader(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except OSError as error:
        raise UsageError(f"{model}: {file.name} cannot be read ({error.strerror}); check its permissions") from error
    except SafetensorError as error:
        raise UsageError(f"{model}: {file.name} is damaged ({error}); download or copy it again") from error


def _shards(checkpoint: Checkpoint) -> list[str]:
    index = read_object(checkpoint.name, checkpoint.folder / WEIGHTS_INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UsageError(f"{checkpoint.name}: {WEIGHTS_INDEX} has no weight_map; download or copy it again")
    shards = sorted({str(shard) for shard in weight_map.values()})
    for shard in shards:
        # An honest index has no paths to other folders or formats.
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise UsageError(
                f"{checkpoint.name}: {WEIGHTS_INDEX} names {shard!r}, no safetensors file in its folder; {SAVE_AGAIN}"
            )
    return shards


def _missing(file: str, names: Iterable[str]) -> str:
    """The message about a missing file of weights, given the names of the files that exist."""
    if file == ADAPTER_WEIGHTS:
        return f"has {ADAPTER_CONFIG} and no {file}; save the adapter again with peft's save_pretrained"
    if file != WEIGHTS:
        return f"{file} is missing, which {WEIGHTS_INDEX} names; download or copy the checkpoint again"
    found = (name for pattern in OTHER_WEIGHTS for name in sorted(fnmatch.filter(names, pattern)))
    other = next((name for name in found if not NOT_WEIGHTS.match(name)), None)
    if other is None:
        return f"has no {file}; copy the weights there, or name another folder"
    if other.endswith(".safetensors"):
        return (
            f"has {other}, but neither {WEIGHTS} nor {WEIGHTS_INDEX}, which transformers loads; "
            "copy the missing file, or save the model again with save_pretrained"
        )
    if other.endswith(".gguf"):
        return f"has {other} but no {file}, and {GGUF_REMEDY}"
    return f"has {other} but no {file}; {SAVE_AGAIN}"
