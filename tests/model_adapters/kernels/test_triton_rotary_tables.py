"""The kernel's tables of rotary positions, against those of transformers' own modules."""

from typing import Any

import pytest
import torch
from transformers.models.cohere.configuration_cohere import CohereConfig
from transformers.models.cohere.modeling_cohere import CohereRotaryEmbedding
from transformers.models.gemma3.configuration_gemma3 import Gemma3TextConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.olmo3.configuration_olmo3 import Olmo3Config
from transformers.models.olmo3.modeling_olmo3 import Olmo3RotaryEmbedding

from model_adapters.engine.fast_modules import rotary_tables
from model_adapters.engine.fast_modules.rotary_tables import place_rotary_tables
from model_adapters.module_patches import ModulePatches
from tests.model_adapters.kernels.gated_delta.cases import DEVICE

SIZES: dict[str, Any] = {"hidden_size": 48, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 24}
YARN = {"rope_type": "yarn", "rope_theta": 500_000.0, "factor": 8.0, "original_max_position_embeddings": 8_192}
WINDOWS = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": YARN,
}
POSITIONS = torch.tensor([[3, 70_000, 12, 5]])


class Model(torch.nn.Module):
    """As much of a model as is needed."""

    def __init__(self, rotary: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.rotary = rotary
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=dtype))


def placed(rotary: torch.nn.Module, dtype: torch.dtype = torch.float32) -> tuple[Any, int]:
    model: Any = Model(rotary, dtype).to(DEVICE)
    return model.rotary, place_rotary_tables(model, ModulePatches())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("scaled", [False, True])
def test_tables_of_all_layers(dtype: torch.dtype, scaled: bool) -> None:
    config = LlamaConfig(**SIZES, **({"rope_parameters": YARN} if scaled else {}))
    rotary, count = placed(LlamaRotaryEmbedding(config), dtype)
    assert count == 1
    x, positions = torch.zeros(1, 4, 48, dtype=dtype, device=DEVICE), POSITIONS.to(DEVICE)
    found, own = rotary(x, position_ids=positions), LlamaRotaryEmbedding.forward(rotary, x, positions)
    assert rotary.forward is not LlamaRotaryEmbedding.forward
    for one, other in zip(found, own, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6 if dtype == torch.float32 else 1e-3, rtol=0)


@pytest.mark.parametrize("family", [(Olmo3RotaryEmbedding, Olmo3Config), (Gemma3RotaryEmbedding, Gemma3TextConfig)])
@pytest.mark.parametrize("kind", WINDOWS)
def test_tables_by_layer_type(family: tuple[Any, Any], kind: str) -> None:
    own_class, config = family
    sizes = SIZES | {"layer_types": list(WINDOWS), "num_hidden_layers": 2, "rope_parameters": WINDOWS}
    rotary, count = placed(own_class(config(**sizes)), torch.float16)
    assert count == 1
    x, positions = torch.zeros(1, 4, 48, dtype=torch.float16, device=DEVICE), POSITIONS.to(DEVICE)
    found, own = rotary(x, positions, kind), own_class.forward(rotary, x, positions, kind)
    for one, other in zip(found, own, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=0)


def test_another_order_of_features_keeps_its_own_code() -> None:
    rotary, count = placed(CohereRotaryEmbedding(CohereConfig(**SIZES)))
    assert count == 0
    assert "forward" not in vars(rotary)


def test_frequencies_that_depend_on_the_length_keep_their_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotary_tables, "_agrees", lambda *_: pytest.fail("it is not even tried"))
    dynamic = LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0})
    assert placed(LlamaRotaryEmbedding(dynamic))[1] == 0


def test_positions_that_the_kernel_does_not_read_take_the_models_own_code() -> None:
    rotary, _ = placed(LlamaRotaryEmbedding(LlamaConfig(**SIZES)))
    x, positions = torch.zeros(4, 2, 48, device=DEVICE), POSITIONS.to(DEVICE).repeat(2, 1).t()
    for one, other in zip(rotary(x, positions), LlamaRotaryEmbedding.forward(rotary, x, positions), strict=True):
        assert torch.equal(one, other)
