"""The memory of a sequence by its configuration is what the engine measures."""

from typing import Any

import pytest
import torch

from model_adapters.bench.slot_cost import slot_cost
from model_adapters.engine.forward.model_runner import ModelRunner
from tests.model_adapters.preflight.other_families import OTHER_FAMILIES, other_model
from tests.model_adapters.small_models import FAMILIES, small_model


@pytest.mark.parametrize("family", [*FAMILIES, *OTHER_FAMILIES])
def test_the_configuration_gives_what_is_measured(family: str) -> None:
    model: Any = small_model(family) if family in FAMILIES else other_model(family)
    assert slot_cost(model.config, torch.float32) == ModelRunner(model).layout.cost
