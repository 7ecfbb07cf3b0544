"""The safetensors files of a checkpoint, checked by their headers before anything large is read."""

import re
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from evalkit.errors import UsageError
from model_adapters.checkpoint import Checkpoint, read_object

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# Weights that are not loaded, the likeliest first.
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
# What trainers write beside the weights, in the same formats.
NOT_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|adapter)")
LFS_POINTER = b"version https://git-lfs"
SAVE_AGAIN = "only safetensors are loaded: save the model again with transformers' save_pretrained, which writes them"


class TensorHeader(NamedTuple):
    """What a safetensors file says about a tensor before its numbers."""

    dtype: str
    """safetensors' own name: F32, BF16, F8_E4M3, I32, …"""
    shape: tuple[int, ...]


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
            tensor_headers(name, file)
    return tuple(files)


def tensor_headers(model: str, file: Path) -> dict[str, TensorHeader]:
    """Number formats and shapes of a safetensors file's tensors; UsageError if it is missing or damaged."""
    if not file.exists():
        raise UsageError(f"{model}: {file.name} is missing; download or copy the checkpoint again")
    try:
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise UsageError(f"{model}: {file.name} is a Git LFS pointer, not the file; run `git lfs pull` there")
        with safe_open(file, framework="numpy") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
            return {name: TensorHeader(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except OSError as error:
        raise UsageError(f"{model}: {file.name} cannot be read ({error.strerror}); check its permissions") from error
    except SafetensorError as error:
        raise UsageError(f"{model}: {file.name} is damaged ({error}); download or copy it again") from error


def _shards(checkpoint: Checkpoint) -> list[Path]:
    index = read_object(checkpoint.name, checkpoint.folder / WEIGHTS_INDEX)
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
    names = (path.name for pattern in OTHER_WEIGHTS for path in sorted(checkpoint.folder.glob(pattern)))
    other = next((name for name in names if not NOT_WEIGHTS.match(name)), None)
    if other is None:
        return f"{checkpoint.name}: has no {WEIGHTS}; copy the weights there, or name another folder"
    if other.endswith(".safetensors"):
        return (
            f"{checkpoint.name}: has {other}, but neither {WEIGHTS} nor {WEIGHTS_INDEX}, which transformers loads; "
            "copy the missing file, or save the model again with save_pretrained"
        )
    return f"{checkpoint.name}: has {other} but no {WEIGHTS}; {SAVE_AGAIN}"
