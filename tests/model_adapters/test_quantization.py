"""Quantized checkpoints: the weights with scales applied, or a refusal in one line before they are read."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import LoadedModel, load_model
from model_adapters.memory_forecast import forecast_memory
from model_adapters.quantization import unused_scales
from tests.model_adapters.small_models import save_small_checkpoint

BLOCK = 32
FP8 = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK], "activation_scheme": "dynamic", "fmt": "e4m3"}
REMEDY = "name the unquantized checkpoint, or dequantize this one and save it with save_pretrained"

Quantize = Callable[[str, torch.Tensor], dict[str, torch.Tensor]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_small_checkpoint(tmp_path / "checkpoint", "llama")


def load(folder: Path, dtype: str = "auto") -> LoadedModel:
    return load_model(ModelOptions(str(folder), device="cpu", dtype=dtype))


def refusal(folder: Path) -> str:
    with pytest.raises(UsageError) as raised:
        load(folder)
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix(f"{folder}: ")


def state(folder: Path, quantization: Any, **others: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantization, **others}))


def requantize(folder: Path, quantize: Quantize, *, others: torch.dtype = torch.float32) -> None:
    """Replace the weights of all projections by the results of `quantize`, and store the others in `others`."""
    stored: dict[str, torch.Tensor] = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        stored |= quantize(name, weight) if name.endswith("proj.weight") else {name: weight.to(others)}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})


def blocks(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """FP8 with one scale per block, as in checkpoints of DeepSeek and Qwen."""
    rows, columns = weight.shape
    tiles = weight.reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    scale = tiles.abs().amax(dim=(1, 3)) / 448
    packed = (tiles / scale[:, None, :, None]).to(torch.float8_e4m3fn).reshape(rows, columns)
    return {name: packed, f"{name}_scale_inv": scale}


def one_scale(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """FP8 with one scale per matrix, under the names used by ModelOpt and by vLLM's static FP8."""
    scale = weight.abs().max() / 448
    packed = (weight / scale).to(torch.float8_e4m3fn)
    return {name: packed, f"{name}_scale": scale.clone(), name.replace("weight", "input_scale"): torch.tensor(1.0)}


def dequantized(folder: Path) -> dict[str, torch.Tensor]:
    """The dequantized weights of a checkpoint made by `blocks`."""
    stored = load_file(folder / "model.safetensors")
    weights = {}
    for name, weight in stored.items():
        if name.endswith("_scale_inv"):
            continue
        scale = stored.get(f"{name}_scale_inv")
        weights[name] = weight.float()
        if scale is not None:
            weights[name] *= scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return weights


@pytest.mark.parametrize("others", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_fp8_is_the_weights_times_their_scales_all_in_one_format(folder: Path, others: torch.dtype, dtype: str) -> None:
    requantize(folder, blocks, others=others)
    state(folder, FP8)
    loaded = load(folder, dtype)
    wanted = torch.float32 if dtype == "auto" else torch.bfloat16
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {wanted}
    for name, weight in dequantized(folder).items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight.to(wanted), rtol=0, atol=0)
    loaded.model(torch.arange(20)[None])
    assert loaded.warnings == ()


def test_the_identity_names_the_quantization_and_counts_whole_parameters(folder: Path) -> None:
    plain = load(folder).identity
    assert plain.quantization is None
    requantize(folder, blocks)
    state(folder, FP8)
    identity = load(folder).identity
    assert identity.quantization == "fp8, e4m3; dequantized while loading"
    assert (identity.parameters, identity.dtype) == (plain.parameters, "float32")


def test_the_forecast_counts_dequantized_weights(folder: Path) -> None:
    plain = forecast_memory(ModelOptions(str(folder), device="cpu", dtype="float32"), 256).split(";")[0]
    requantize(folder, blocks)
    state(folder, FP8)
    assert forecast_memory(ModelOptions(str(folder), device="cpu", dtype="float32"), 256).split(";")[0] == plain


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "modelopt, FP8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "modelopt, NVFP4"),
        ({"quant_method": "exl2", "bits": 4.5}, "exl2"),
        ({"quant_method": "torchao"}, "torchao"),
        ({"bits": 4}, "no quant_method, 4 bits"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_other_methods_are_refused_before_weights_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stated: dict[str, Any], shown: str, nested: bool
) -> None:
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", None)
    if nested:
        state(folder, None, text_config={"quantization_config": stated})
    else:
        state(folder, stated)
    assert refusal(folder) == (
        f"its weights are quantized (quantization_config: {shown}), which transformers {transformers.__version__} does "
        f"not dequantize while loading; {REMEDY}"
    )


def test_a_method_that_a_file_beside_config_json_states_is_refused(folder: Path) -> None:
    (folder / "hf_quant_config.json").write_text(json.dumps({"producer": {}, "quantization": {"quant_algo": "FP8"}}))
    assert refusal(folder).startswith("its weights are quantized (quantization_config: modelopt, FP8)")


def test_a_quantized_cache_alone_does_not_quantize_weights(folder: Path) -> None:
    quantization = {"quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}}
    (folder / "hf_quant_config.json").write_text(json.dumps(quantization))
    assert load(folder).identity.quantization is None


GROUP, BITS = 32, 4
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""The output whose integer is at each position of AWQ's words."""


def words(integer: torch.Tensor, order: Sequence[int] = range(8)) -> torch.Tensor:
    """Rows of 4-bit integers, eight packed in each int32, the first of `order` in the lowest bits."""
    rows = integer.reshape(integer.shape[0], -1, 8)[:, :, list(order)].to(torch.int64)
    packed = (rows << torch.arange(0, 32, BITS)).sum(-1)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)


def groups_of(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Integers [I, O], zeros and scales [G, O] of a weight [O, I], and the dequantized weight."""
    group_GIO = weight.T.reshape(-1, GROUP, weight.shape[0])
    low, high = group_GIO.amin(1), group_GIO.amax(1)
    scale_GO = ((high - low) / 15).half().float()
    zero_GO = (-low / scale_GO).round().clamp(1, 15)
    integer = ((group_GIO / scale_GO[:, None]).round() + zero_GO[:, None]).clamp(0, 15)
    stands_for = ((integer - zero_GO[:, None]) * scale_GO[:, None]).flatten(0, 1).T
    return integer.flatten(0, 1).int(), zero_GO.int(), scale_GO.half(), stands_for


def gptq(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    integer, zero, scale, _ = groups_of(weight)
    layer, group = name.removesuffix("weight"), torch.arange(weight.shape[1]) // GROUP
    packed = {"qweight": words(integer.T).T.contiguous(), "qzeros": words(zero - 1), "scales": scale, "g_idx": group}
    return {layer + part: tensor.int() if part == "g_idx" else tensor for part, tensor in packed.items()}


def awq(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    integer, zero, scale, _ = groups_of(weight)
    layer = name.removesuffix("weight")
    return {layer + "qweight": words(integer, ORDER), layer + "qzeros": words(zero, ORDER), layer + "scales": scale}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen3_next"])
@pytest.mark.parametrize(
    ("pack", "file", "stated", "shown"),
    [
        (gptq, "quantize_config.json", {"quant_method": "gptq", "bits": 4, "group_size": GROUP}, "gptq, 4 bits"),
        (awq, "quant_config.json", {"quant_method": "awq", "w_bit": 4, "version": "GEMM"}, "awq, 4 bits"),
    ],
)
def test_packed_integers_are_the_weights_that_they_stand_for(
    tmp_path: Path, family: str, pack: Quantize, file: str, stated: dict[str, Any], shown: str, beside: bool
) -> None:
    """Also if the weights of all experts become one parameter."""
    folder = save_small_checkpoint(tmp_path / "checkpoint", family)
    plain = load(folder)
    for name, weight in plain.model.state_dict().items():
        for part in [weight] if weight.ndim < 3 else [*weight]:
            if name.endswith("proj.weight") or (weight.ndim == 3 and "experts" in name):
                part.copy_(groups_of(part)[-1])
    requantize(folder, pack)
    if beside:
        (folder / file).write_text(
            json.dumps({name: value for name, value in stated.items() if name != "quant_method"})
        )
    else:
        state(folder, stated)
    loaded = load(folder)
    assert loaded.identity.quantization == f"{shown}; dequantized while loading"
    assert (loaded.identity.parameters, loaded.warnings) == (plain.identity.parameters, ())
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ({"quant_method": "gptq", "bits": 3}, "gptq only 2, 4 or 8 bits in all layers"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "gptq only 2, 4 or 8 bits in all layers"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"x": {"bits": 8}}}, "gptq only 2, 4 or 8 bits in all layers"),
        ({"quant_method": "awq", "bits": 8}, "awq only 4 bits in the layout gemm"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "awq only 4 bits in the layout gemm"),
    ],
)
def test_other_layouts_of_packed_integers_are_refused(folder: Path, stated: dict[str, Any], read: str) -> None:
    state(folder, stated)
    assert f", and of {read}" in refusal(folder)


def test_scales_in_the_layout_of_modelopt_are_not_dropped(folder: Path) -> None:
    requantize(folder, one_scale)
    state(folder, {"quant_method": "modelopt", "quant_algo": "FP8"})
    assert refusal(folder).startswith("its weights are quantized (quantization_config: modelopt, FP8)")


def test_scales_that_a_known_method_does_not_expect_are_not_dropped(folder: Path) -> None:
    requantize(folder, one_scale)
    state(folder, {"quant_method": "fp8", "activation_scheme": "static"})
    assert refusal(folder) == (
        "14 tensors such as model.layers.0.mlp.down_proj.weight_scale would not be applied, and without scales the "
        f"weights are others; {REMEDY}"
    )


@pytest.mark.parametrize(
    ("quantize", "named", "dtype"),
    [
        (blocks, "mlp.down_proj.weight", "F8_E4M3"),
        (one_scale, "mlp.down_proj.weight", "F8_E4M3"),
        (lambda name, weight: {name: weight.to(torch.int8)}, "mlp.down_proj.weight", "I8"),
        (lambda name, weight: {f"{name}_packed": weight.to(torch.int32)}, "mlp.down_proj.weight_packed", "I32"),
        (
            lambda name, weight: {name.replace("weight", "qweight"): weight.to(torch.int32)},
            "mlp.down_proj.qweight",
            "I32",
        ),
    ],
)
def test_quantized_weights_without_a_method_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, quantize: Quantize, named: str, dtype: str
) -> None:
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", None)
    requantize(folder, quantize)
    assert refusal(folder) == (
        f"model.layers.0.{named} is stored as {dtype}, which is quantized, and config.json has no quantization_config "
        f"that says how to read it; {REMEDY}"
    )


def test_integers_that_are_no_matrices_are_not_taken_for_weights(folder: Path) -> None:
    """Masks and position ids, which older checkpoints contain."""
    weights = load_file(folder / "model.safetensors")
    weights["model.position_ids"] = torch.arange(64)[None]
    weights["model.layers.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (warning,) = load(folder).warnings
    assert warning.startswith("the checkpoint holds 2 tensors such as")


def test_a_weight_whose_scale_alone_is_unused_is_refused_in_any_checkpoint(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight_scale"] = torch.ones(1)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert refusal(folder) == (
        "model.layers.1.mlp.up_proj.weight_scale would not be applied, and without scales the weights are others; "
        f"{REMEDY}"
    )


def test_scales_of_what_the_model_leaves_out_anyway_are_left_out_with_it() -> None:
    assert unused_scales(["layers.0.q_proj.weight_scale", "layers.0.q_proj.input_scale"]) == [
        "layers.0.q_proj.weight_scale"
    ]
    # Scales of an unused layer, of other modalities, of activations, and of a quantized cache.
    assert unused_scales(["layers.9.q_proj.weight", "layers.9.q_proj.weight_scale_inv"]) == []
    assert unused_scales(["vision_tower.layers.0.fc.weight_scale", "mtp.layers.0.fc.weight_scale"]) == []
    assert unused_scales(["layers.0.self_attn.k_scale", "layers.0.self_attn.v_scale", "layers.0.kv_scale"]) == []
    for name in ("weight.absmax", "SCB", "qzeros", "g_idx", "weight.quant_state.bitsandbytes__nf4", "scales"):
        assert unused_scales([f"layers.0.q_proj.{name}"]) == [f"layers.0.q_proj.{name}"]


@pytest.mark.parametrize(
    ("stated", "shown", "package"),
    [
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "float-quantized", "compressed-tensors"),
        ({"load_in_8bit": True}, "8 bits", "bitsandbytes"),
    ],
)
def test_a_method_whose_package_is_missing_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stated: dict[str, Any], shown: str, package: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    state(folder, stated)
    assert refusal(folder) == (
        f"its weights are quantized (quantization_config: {package}, {shown}), and {package}, with which transformers "
        f"dequantizes them, is not installed; pip install {package}"
    )


@pytest.mark.parametrize(
    ("options", "shown", "tolerance"),
    # bitsandbytes multiplies 4-bit weights in bf16, and with 8-bit weights also quantizes activations.
    [
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}, "4 bits", 0.03),
        ({"load_in_8bit": True}, "8 bits", 0.1),
    ],
)
def test_bitsandbytes_is_what_transformers_runs(
    tmp_path: Path, options: dict[str, Any], shown: str, tolerance: float
) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    folder = save_small_checkpoint(tmp_path / "plain", "llama", intermediate_size=128)
    quantization = transformers.BitsAndBytesConfig(**options, bnb_4bit_compute_dtype=torch.float32)
    quantized = transformers.AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=quantization, dtype=torch.float32, device_map="cpu"
    )
    saved = shutil.copytree(folder, tmp_path / "quantized")
    quantized.save_pretrained(saved)
    loaded, id_1T = load(saved), torch.arange(20)[None]
    assert loaded.identity.quantization == f"bitsandbytes, {shown}; dequantized while loading"
    assert (loaded.identity.parameters, loaded.identity.dtype) == (load(folder).identity.parameters, "float32")
    # Before the first pass, in which bitsandbytes repacks them.
    name = "model.layers.1.mlp.up_proj"
    stored, kept = quantized.get_submodule(name).weight, loaded.model.get_submodule(name).weight
    if shown == "4 bits":
        expected = bitsandbytes.functional.dequantize_4bit(stored, stored.quant_state)
    else:
        expected = bitsandbytes.functional.int8_vectorwise_dequant(stored, stored.SCB)
    torch.testing.assert_close(kept, expected.float(), rtol=0, atol=0)
    with torch.no_grad():
        expected_TV, found_TV = quantized(id_1T).logits[0], loaded.model(id_1T).logits[0]
        plain_TV = load(folder).model(id_1T).logits[0]
    # Logits are about one.
    assert float((found_TV - expected_TV).square().mean().sqrt()) < tolerance
    assert float((plain_TV - expected_TV).square().mean().sqrt()) > (0.3 if shown == "4 bits" else 0.01)


def test_compressed_tensors_are_the_weights_times_their_scales(folder: Path) -> None:
    pytest.importorskip("compressed_tensors")
    weights = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True, "dynamic": False}
    group = {"targets": ["Linear"], "weights": weights}
    requantize(folder, one_scale)
    state(
        folder,
        {
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "quantization_status": "compressed",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
        },
    )
    stored, loaded = load_file(folder / "model.safetensors"), load(folder)
    assert loaded.identity.quantization == "compressed-tensors, float-quantized; dequantized while loading"
    name = "model.layers.0.mlp.up_proj.weight"
    expected = stored[name].float() * stored[f"{name}_scale"]
    torch.testing.assert_close(loaded.model.state_dict()[name], expected, rtol=0, atol=0)
