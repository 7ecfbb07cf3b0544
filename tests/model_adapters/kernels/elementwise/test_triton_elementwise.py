"""The elementwise kernels against their PyTorch forms in fp64."""

import pytest
import torch

from model_adapters.kernels.elementwise import reference
from model_adapters.kernels.elementwise.triton_elementwise import rms_norm, rotate, silu_product
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return torch.randn(*shape, device=DEVICE, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 192), (2, 65, 96), (1, 3, 3840), (5, 130), (1, 2, 5000)])
def test_norms(shape: tuple[int, ...], gated: bool, dtype: torch.dtype) -> None:
    x, weight = normal(*shape, dtype=dtype), normal(shape[-1], dtype=dtype, seed=1)
    gate = normal(*shape, dtype=dtype, seed=2) if gated else None
    residual = normal(*shape, dtype=dtype, seed=3)
    for offset in (0.0, 1.0):
        found = rms_norm(x, weight, epsilon=1e-5, weight_offset=offset, gate=gate)
        wide = None if gate is None else gate.double()
        expected = reference.rms_norm(x.double(), weight, epsilon=1e-5, weight_offset=offset, gate=wide)
        assert found.dtype == dtype
        assert gap(found, expected) <= TOLERANCE[dtype]
        added = rms_norm(x, weight, epsilon=1e-5, weight_offset=offset, gate=gate, residual=residual)
        assert gap(added, expected + residual.double()) <= TOLERANCE[dtype]


def test_a_norm_of_a_slice() -> None:
    x, weight = normal(2, 7, 60)[..., 5:53], normal(48, seed=1)
    expected = reference.rms_norm(x.double(), weight, epsilon=1e-6, gate=None)
    assert gap(rms_norm(x, weight, epsilon=1e-6), expected) <= 1e-5


def test_a_norm_with_a_gate_out_of_a_wider_product() -> None:
    x, weight = normal(3, 1, 4, 24), normal(24, seed=1)
    gate = normal(3, 1, 130, seed=2)[..., 20:116].view(3, 1, 4, 24)
    expected = reference.rms_norm(x.double(), weight, epsilon=1e-6, gate=gate.double())
    assert gap(rms_norm(x, weight, epsilon=1e-6, gate=gate), expected) <= 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 63, 65), (2, 4096)])
def test_products_of_a_gate(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    gate, up = 5 * normal(*shape, dtype=dtype), normal(*shape, dtype=dtype, seed=1)
    expected = reference.silu_product(gate.double(), up.double())
    out = torch.full_like(up, torch.nan)
    assert gap(silu_product(gate, up, out=out), expected) <= TOLERANCE[dtype]
    assert silu_product(gate, up, out=gate) is gate
    assert gap(gate, expected) <= TOLERANCE[dtype]


def test_products_of_the_halves_of_wider_rows() -> None:
    both = normal(2, 5, 96)
    gate, up = both[..., :48], both[..., 48:]
    expected = reference.silu_product(gate.double(), up.double())
    up_before = up.clone()
    assert gap(silu_product(gate, up, out=gate), expected) <= 1e-6
    assert torch.equal(up, up_before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sequences", "tokens", "size", "rows"), [(1, 1, 128, 1), (2, 65, 24, 1), (3, 33, 64, 3)])
def test_rotations(sequences: int, tokens: int, size: int, rows: int, dtype: torch.dtype) -> None:
    x = normal(sequences, tokens, 3, size, dtype=dtype).transpose(1, 2)
    angle = normal(rows, tokens, size, seed=1)
    expected = reference.rotate(x.double(), angle.cos().double(), angle.sin().double())
    found = rotate(x, angle.cos(), angle.sin())
    assert found.transpose(1, 2).is_contiguous()
    assert gap(found, expected) <= TOLERANCE[dtype]


def test_what_does_not_fit_is_one_line() -> None:
    x, weight = normal(2, 8), normal(8)
    for call in (
        lambda: rms_norm(x, weight[:-1], epsilon=1e-6),
        lambda: rms_norm(x.double(), weight, epsilon=1e-6),
        lambda: rms_norm(x, weight, epsilon=1e-6, gate=x[:1]),
        lambda: rms_norm(normal(8, 2).T, weight, epsilon=1e-6),
        lambda: rms_norm(x, weight, epsilon=1e-6, gate=normal(8, 2).T),
        lambda: rms_norm(x, weight, epsilon=1e-6, residual=x[:1]),
        lambda: silu_product(x, x[:1]),
        lambda: silu_product(x.T, x.T),
        lambda: silu_product(normal(3, 2, 8)[:, :1].expand(3, 2, 8), normal(3, 2, 8)),
        lambda: rotate(normal(1, 1, 2, 7), normal(1, 2, 7), normal(1, 2, 7)),
        lambda: rotate(normal(1, 1, 2, 8), normal(1, 3, 8), normal(1, 2, 8)),
    ):
        with pytest.raises(ValueError, match=r"\S+") as caught:
            call()
        assert "\n" not in str(caught.value)
