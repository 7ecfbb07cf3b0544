"""What runs while kernels are only compiled runs without an error, which would be suppressed, and without a risk."""

from contextlib import nullcontext

import pytest
from torch import nn

from model_adapters.engine.forward import model_runner
from model_adapters.engine.forward.decoder_layers import decoder_layers
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.preflight import compile_ahead
from model_adapters.preflight.compile_ahead import indexes_by_given_numbers, launch_all
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import FAMILIES, small_model


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_all_passes_run(family: str) -> None:
    launch_all(ModelRunner(small_model(family)))


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_layers_of_each_kind_run_once_and_nothing_measured_is_kept(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measurements on what kernels would have written are garbage."""
    kinds = list(small_model(family).config.layer_types)
    model = small_model(family, layer_types=kinds * 2, num_hidden_layers=2 * len(kinds))
    layers, ran = ModelRunner(model).layout.layers, []
    model_runner._KNOWN.pop(model)

    def launched(runner: ModelRunner) -> None:
        ran.append(len(decoder_layers(runner.model)))
        launch_all(runner)

    monkeypatch.setattr(compile_ahead, "launch_all", launched)
    # An exception would be suppressed.
    monkeypatch.setattr(compile_ahead, "suppress", lambda _: nullcontext())
    compile_ahead._compile(model, "auto", layers)
    assert ran == [1 + max(kinds.index(kind) for kind in kinds)]
    assert not model_runner._KNOWN.get(model)
    assert len(decoder_layers(model)) == 2 * len(kinds)
    assert ModelRunner(model).layout.layers == layers


@pytest.mark.parametrize(
    ("family", "fits"),
    [
        ("olmo_hybrid", True),
        ("olmo3", True),
        ("mamba2", True),
        ("qwen3_next", False),
        ("gpt_oss", False),
        ("nemotron_h", False),
        ("granitemoehybrid", False),
    ],
)
def test_models_with_experts_compile_as_they_go(family: str, fits: bool) -> None:
    model = small_model(family) if family in FAMILIES else other_model(family)
    assert indexes_by_given_numbers(model) is fits


def test_other_code_compiles_as_it_goes() -> None:
    model = small_model("llama")
    changed = type("Changed", (type(model),), {"__module__": "transformers_modules.changed"})
    model.__class__ = changed
    assert isinstance(model, nn.Module)
    assert not indexes_by_given_numbers(model)
