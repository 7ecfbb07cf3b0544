"""The PyTorch form against transformers' own convolution."""

import pytest
import torch

from model_adapters.kernels.causal_convolution.reference import causal_convolution


@pytest.mark.parametrize("tokens", [1, 4, 30])
def test_transformers_computes_the_same(tokens: int) -> None:
    module = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    x, weight, bias = torch.randn(2, tokens, 6), torch.randn(6, 4), torch.randn(6)
    context = torch.zeros(2, 6, 4)
    found = causal_convolution(x, weight, bias, context)
    expected = module.causal_conv1d_fn(x.transpose(1, 2), weight, bias, activation="silu")
    torch.testing.assert_close(found, expected.transpose(1, 2))
    # Then continue with a step from the remaining context.
    step = torch.randn(2, 1, 6)
    again = context.clone()
    expected = module.causal_conv1d_update(step.transpose(1, 2), again, weight, bias, activation="silu")
    torch.testing.assert_close(causal_convolution(step, weight, bias, context), expected.transpose(1, 2))
    assert torch.equal(context, again)
