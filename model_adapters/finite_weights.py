"""Check that no weight is NaN or infinite."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from evalkit.errors import UsageError


def refuse_not_finite(name: str, model: PreTrainedModel, files: Iterable[Path]) -> None:
    """Raise UsageError if a weight of the loaded model is NaN or infinite.

    Reads every weight once in memory: the minimum and maximum of a tensor are finite exactly if all its numbers are,
    and computing them needs no further memory. `files` are read again only for the error message.
    """
    weights = {key: value for key, value in model.state_dict().items() if value.is_floating_point() and value.numel()}
    finite = [torch.stack(tuple(torch.aminmax(value))).isfinite().all() for value in weights.values()]
    # One copy to the host for all tensors.
    for key, is_finite in zip(weights, torch.stack(finite).tolist() if finite else [], strict=True):
        if not is_finite:
            raise UsageError(f"{name}: {_explain(key, weights[key], files)}")


def _explain(key: str, weight: torch.Tensor, files: Iterable[Path]) -> str:
    for file in files:
        if file.suffix != ".safetensors":
            continue
        with safe_open(file, framework="pt") as tensors:
            for stored in tensors.keys():  # noqa: SIM118 - no mapping
                tensor = tensors.get_tensor(stored)
                if count := _not_finite(tensor):
                    return (
                        f"{stored} in {file.name} holds NaN or infinity ({count:,} of {tensor.numel():,} numbers); "
                        "download or copy the checkpoint again, or name an earlier one"
                    )
    dtype = str(weight.dtype).removeprefix("torch.")
    return f"{key} is finite as stored and not in {dtype}; use --dtype bfloat16 or --dtype float32"


def _not_finite(tensor: torch.Tensor) -> int:
    if not tensor.is_floating_point():
        return 0
    # PyTorch has no such test for 8-bit numbers.
    wide = tensor if tensor.element_size() > 1 else tensor.float()
    return int((~wide.isfinite()).sum())
