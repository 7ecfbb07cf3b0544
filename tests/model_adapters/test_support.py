"""The engine's needs of a model are measured without weights and agree with those of the loaded model."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters import loading
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.hollow import products_skipped
from model_adapters.loading import load_model
from model_adapters.memory_forecast import forecast_memory
from model_adapters.support import measure_support
from tests.model_adapters.preflight.other_families import (
    REFUSED_FAMILIES,
    other_model,
)
from tests.model_adapters.small_models import FAMILIES, byte_tokenizer, small_model


def skeleton_of(model: PreTrainedModel) -> PreTrainedModel:
    with torch.device("meta"):
        config = copy.deepcopy(model.config)
        skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return skeleton


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_without_numbers_shows_the_memory_of_the_model(family: str) -> None:
    """Those of all other families are compared in test_families.py."""
    model = small_model(family)
    assert measure_support(skeleton_of(model), torch.float32) == ModelRunner(model).layout


def test_copies_of_hollow_weights_are_hollow_and_let_nan_through() -> None:
    weight_ND = torch.zeros((), dtype=torch.bfloat16).expand(20_000, 64)
    with products_skipped():
        copied_ND = weight_ND[100:].float()
        found = [torch.nn.functional.linear(torch.full((2, 64), value), copied_ND) for value in (1.0, torch.nan)]
    assert (copied_ND.dtype, copied_ND.shape, copied_ND.untyped_storage().nbytes()) == (torch.float32, (19_900, 64), 4)
    assert found[0].count_nonzero() == 0
    assert found[1].isnan().all()


def test_a_convolution_with_hollow_weights_has_its_shape_and_lets_nan_through() -> None:
    weight_CIK = torch.zeros(()).expand(64, 1, 4)
    with products_skipped():
        found = [
            torch.nn.functional.conv1d(torch.full((2, 64, 9), value), weight_CIK, padding=3, groups=64, stride=2)
            for value in (1.0, torch.nan)
        ]
    assert [each.shape for each in found] == [(2, 64, 6), (2, 64, 6)]
    assert found[0].count_nonzero() == 0
    assert found[1].isnan().all()


def test_a_measurement_leaves_the_number_of_threads_alone() -> None:
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        skeleton = skeleton_of(small_model("llama"))
        handle = skeleton.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
        measure_support(skeleton, torch.float32)
        handle.remove()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_the_number_format_is_that_of_the_run() -> None:
    layout = measure_support(skeleton_of(small_model("llama")), torch.bfloat16)
    assert [layer.kv_bytes for layer in layout.layers] == [2 * 2 * 16 * 2] * 2


@pytest.mark.parametrize("family", ["doge", "xlstm", "bloom"])
def test_a_family_is_refused_before_weights_are_read(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert family in REFUSED_FAMILIES
    other_model(family).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setattr(loading, "build_model", lambda *_, **__: pytest.fail("weights were read"))
    options = ModelOptions(str(tmp_path), device="cpu")
    for refusing in (lambda: load_model(options), lambda: forecast_memory(options, 1024)):
        with pytest.raises(UsageError, match=r"ForCausalLM .* (use a model of another family|that does)$") as refused:
            refusing()
        assert "\n" not in str(refused.value)


def test_layers_of_one_kind_are_measured_once_each_and_run_together_once() -> None:
    """A deep model costs one pass through all layers; other passes stop after the last new kind of layer."""
    model = skeleton_of(small_model("olmo_hybrid", num_hidden_layers=32))
    calls = []
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda *_: calls.append(1))
    assert len(measure_support(model, torch.float32).layers) == 32
    assert len(calls) < 2 * 32
