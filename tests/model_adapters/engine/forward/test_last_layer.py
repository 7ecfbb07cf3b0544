"""The last layer's MLP on the tokens whose output is read, and on no others."""

import pytest
import torch

from model_adapters.engine.forward.last_layer import last_mlp, only_read_tokens
from model_adapters.engine.forward.model_runner import ModelRunner
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.small_models import small_model


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """In fp64, because products of few and of many rows differ by rounding, for which fp32 has no reliable bound."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mlp_of(family: str) -> torch.nn.Module:
    mlp = last_mlp(small_model(family).get_decoder())
    assert mlp is not None
    return mlp


@pytest.mark.parametrize("tokens", [0, 1, 3, 7, 9])
def test_outputs_of_the_last_tokens(tokens: int) -> None:
    mlp = mlp_of("olmo3").double()
    x = normal(1, 7, next(mlp.parameters()).shape[1])
    with torch.no_grad():
        whole = mlp(x)
        with only_read_tokens(mlp, tokens):
            found = mlp(x)
        assert torch.equal(mlp(x), whole)
    read = min(tokens, 7)
    assert torch.allclose(found[:, 7 - read :], whole[:, 7 - read :], rtol=0, atol=1e-12)
    assert not found[:, : 7 - read].any()


@pytest.mark.parametrize("tokens", [0, 2, 5, 6])
def test_residuals_are_added_to_the_last_tokens(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mlp = torch.nn.Linear(4, 4, bias=False, dtype=torch.float64)
    own = mlp.forward

    def adding(x: torch.Tensor, *, residual: torch.Tensor | None = None) -> torch.Tensor:
        return own(x) if residual is None else residual + own(x)

    monkeypatch.setattr(mlp, "forward", adding)
    x, residual = normal(1, 5, 4), normal(1, 5, 4, seed=1)
    before = residual.clone()
    with torch.no_grad(), only_read_tokens(mlp, tokens):
        found = mlp(x, residual=residual)
    first = max(0, 5 - tokens)
    assert mlp.forward is adding
    assert torch.allclose(found[:, first:], before[:, first:] + own(x)[:, first:], rtol=0, atol=1e-12)
    assert torch.equal(found[:, :first], before[:, :first])


def test_experts_are_left_alone() -> None:
    decoder = torch.nn.Module()
    layer = torch.nn.Module()
    layer.mlp = torch.nn.Module()
    decoder.layers = torch.nn.ModuleList([layer])
    assert last_mlp(decoder) is None
    assert last_mlp(torch.nn.Module()) is None


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_a_prompt_in_segments_computes_it_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(family)
    seen: list[int] = []
    runner = ModelRunner(model)
    down = model.get_decoder().layers[-1].mlp.down_proj
    monkeypatch.setattr(down, "forward", lambda x: (seen.append(x.shape[1]), type(down).forward(down, x))[1])
    cache = runner.new_cache(slots=1, max_tokens=60)
    runner.prefill(cache, 0, random_prompt(60), 25)
    assert seen == [1]
