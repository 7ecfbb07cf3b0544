"""Modules built without numbers have the shapes, data types and tied weights that they have without this mode."""

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from model_adapters.no_numbers import NoNumbers
from tests.model_adapters.small_models import FAMILIES, small_model


def _tensors(model: PreTrainedModel) -> dict[str, tuple[torch.Size, torch.dtype, int]]:
    named = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    first: dict[int, int] = {}
    return {
        name: (tensor.shape, tensor.dtype, first.setdefault(id(tensor), len(first))) for name, tensor in named.items()
    }


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_shapes_are_the_same(family: str) -> None:
    config = small_model(family).config
    with torch.device("meta"):
        expected = AutoModelForCausalLM.from_config(config)
        with NoNumbers():
            found = AutoModelForCausalLM.from_config(config)
    assert _tensors(found) == _tensors(expected)


def test_only_tensors_without_numbers_are_left_alone() -> None:
    drawn = torch.zeros(4)
    with NoNumbers():
        torch.nn.init.normal_(drawn)
        assert drawn.count_nonzero() == 4
        assert torch.log(torch.ones(2)).tolist() == [0, 0]
        small = torch.empty(3, 1, device="meta")
        added = small + torch.empty(2, dtype=torch.float64, device="meta")
        assert (added.device.type, added.shape, added.dtype) == ("meta", (3, 2), torch.float64)
        assert torch.clamp(small, min=torch.empty(4, device="meta")).shape == (3, 4)
