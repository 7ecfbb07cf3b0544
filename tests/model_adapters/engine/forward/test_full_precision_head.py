"""Logits are computed in fp32 for every dtype of the model, and the model is not modified."""

import pytest
import torch

from evalkit.errors import UsageError
from model_adapters.engine.forward import full_precision_head as head
from model_adapters.engine.forward.model_runner import ModelRunner
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.small_models import small_model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_fp64_sums(dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "BLOCK_ROWS", 7)
    x, weight = torch.randn(2, 3, 64).to(dtype), torch.randn(20, 64).to(dtype)
    bias_V = torch.randn(20).to(dtype) if bias else None
    found = head.full_precision_linear(x, weight, bias_V)
    expected = x.double() @ weight.double().t() + (0.0 if bias_V is None else bias_V.double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_bf16_model_gives_logits_finer_than_bf16() -> None:
    runner = ModelRunner(small_model("olmo_hybrid").to(torch.bfloat16))
    cache = runner.new_cache(slots=1, max_tokens=64)
    logits_1V = runner.prefill(cache, 0, random_prompt(60), 32)
    assert logits_1V.dtype == torch.float32
    assert not torch.equal(logits_1V, logits_1V.to(torch.bfloat16).float())


def test_the_head_is_itself_again_afterwards() -> None:
    model = small_model("llama")
    x = torch.randn(1, 64)
    before = set(vars(model.lm_head))
    with head.full_precision_head(model):
        assert "forward" in vars(model.lm_head)
    assert set(vars(model.lm_head)) == before
    assert model.lm_head(x).shape == (1, model.config.vocab_size)


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(UsageError, match="LlamaModel has no language-model head"):
        ModelRunner(small_model("llama").model)
