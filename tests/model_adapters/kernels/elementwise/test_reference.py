"""The PyTorch forms against transformers' modules."""

import pytest
import torch

from model_adapters.kernels.elementwise.reference import rms_norm, rotate, silu_product


def test_norms_are_those_of_transformers() -> None:
    olmo = pytest.importorskip("transformers.models.olmo_hybrid.modeling_olmo_hybrid")
    qwen = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    x, gate, weight = torch.randn(3, 5, 24), torch.randn(3, 5, 24), torch.randn(24)
    plain, gated, offset = olmo.OlmoHybridRMSNorm(24), olmo.OlmoHybridRMSNormGated(24), qwen.Qwen3NextRMSNorm(24)
    for module in (plain, gated, offset):
        module.weight.data.copy_(weight)
    torch.testing.assert_close(rms_norm(x, weight, epsilon=1e-6, gate=None), plain(x))
    torch.testing.assert_close(rms_norm(x, weight, epsilon=1e-6, gate=gate), gated(x, gate))
    torch.testing.assert_close(rms_norm(x, weight, epsilon=1e-6, weight_offset=1.0, gate=None), offset(x))


def test_rotations_are_those_of_transformers() -> None:
    module = pytest.importorskip("transformers.models.olmo3.modeling_olmo3")
    x, angle = torch.randn(2, 3, 5, 16), torch.randn(1, 5, 8).repeat(1, 1, 2)
    expected, _ = module.apply_rotary_pos_emb(x, x, angle.cos(), angle.sin())
    torch.testing.assert_close(rotate(x, angle.cos(), angle.sin()), expected)


def test_the_product_of_a_gate() -> None:
    gate, up = torch.randn(4, 9), torch.randn(4, 9)
    torch.testing.assert_close(silu_product(gate, up), torch.nn.functional.silu(gate) * up)
