"""Weights that are not finite are refused with the tensor's name before anything runs."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import load_model
from tests.model_adapters.small_models import byte_tokenizer, save_small_checkpoint, small_model

AGAIN = "download or copy the checkpoint again, or name an earlier one"


def refusal(folder: Path, dtype: str = "float32") -> str:
    with pytest.raises(UsageError) as raised:
        load_model(ModelOptions(str(folder), device="cpu", dtype=dtype))
    return str(raised.value).removeprefix(f"{folder}: ")


def spoil(file: Path, name: str, value: float, count: int = 1, dtype: torch.dtype = torch.float32) -> None:
    weights = {key: tensor.to(dtype) for key, tensor in load_file(file).items()}
    weights[name].view(-1)[-count:] = value
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_number_that_is_not_finite_is_found(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    folder = save_small_checkpoint(tmp_path / "checkpoint", "llama")
    name = "model.layers.1.mlp.up_proj.weight"
    spoil(folder / "model.safetensors", name, value, dtype=dtype)
    assert refusal(folder) == f"{name} in model.safetensors holds NaN or infinity (1 of 6,144 numbers); {AGAIN}"


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"])
def test_in_whichever_shard_it_is(tmp_path: Path, name: str) -> None:
    small_model("llama").save_pretrained(tmp_path, max_shard_size="60KB")
    byte_tokenizer().save_pretrained(tmp_path)
    shard = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"][name]
    spoil(tmp_path / shard, name, float("nan"), count=2)
    assert refusal(tmp_path).startswith(f"{name} in {shard} holds NaN or infinity (2 of ")


def test_weights_that_half_precision_cannot_hold_are_named_with_the_remedy(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "checkpoint", "llama")
    spoil(folder / "model.safetensors", "model.norm.weight", 1e5)
    assert refusal(folder, "float16") == (
        "model.norm.weight is finite as stored and not in float16; use --dtype bfloat16 or --dtype float32"
    )
    load_model(ModelOptions(str(folder), device="cpu", dtype="bfloat16"))
