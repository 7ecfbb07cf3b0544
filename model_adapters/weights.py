"""The safetensors files of a checkpoint, checked by their headers before anything large is read."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from evalkit.errors import UsageError
from model_adapters.checkpoint import Checkpoint, read_object

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.ckpt", "*.msgpack", "*.h5")
LFS_POINTER = b"version https://git-lfs"
SAVE_AGAIN = "only safetensors are loaded: save the model again with transformers' save_pretrained, which writes them"


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


def tensor_shapes(model: str, file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a safetensors file's tensors, from its header; UsageError where it is missing or damaged."""
    if not file.exists():
        raise UsageError(f"{model}: {file.name} is missing; download or copy the checkpoint again")
    try:
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise UsageError(f"{model}: {file.name} is a Git LFS pointer, not the file; run `git lfs pull` there")
        with safe_open(file, framework="numpy") as tensors:
            names = tensors.keys()
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
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
    others = sorted(path.name for pattern in OTHER_WEIGHTS for path in checkpoint.folder.glob(pattern))
    if others:
        return f"{checkpoint.name}: has {others[0]} but no {WEIGHTS}; {SAVE_AGAIN}"
    return f"{checkpoint.name}: has no {WEIGHTS}; copy the weights there, or name another folder"
