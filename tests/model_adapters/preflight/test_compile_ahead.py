"""What runs while kernels are only compiled runs without an error, which would be suppressed, and without a risk."""

import pytest
from torch import nn

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.preflight.compile_ahead import indexes_by_given_numbers, launch_all
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import FAMILIES, small_model


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_all_passes_run(family: str) -> None:
    launch_all(ModelRunner(small_model(family)))


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
