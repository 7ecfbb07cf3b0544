"""Products of one vector against torch in fp64."""

import pytest
import torch
import torch.nn.functional as F

from model_adapters.kernels.trial import gap
from model_adapters.kernels.vector_product.triton_vector_product import gated_vector_product, vector_product
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE

SIZES = [(1, 8), (7, 96), (30, 130), (65, 2048), (5, 3840)]


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return torch.randn(*shape, device=DEVICE, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "features"), SIZES)
def test_products(rows: int, features: int, dtype: torch.dtype) -> None:
    x, weight = normal(1, 1, features, dtype=dtype), normal(rows, features, dtype=dtype, seed=1)
    for bias in (None, normal(rows, dtype=dtype, seed=2)):
        expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
        found = vector_product(x, weight, bias)
        assert found.dtype == dtype
        assert found.shape == (1, 1, rows)
        assert gap(found, expected) <= TOLERANCE[dtype]
        wide = vector_product(x, weight, bias, out_dtype=torch.float32)
        assert gap(wide, expected) <= 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "features"), SIZES)
def test_gated_products(rows: int, features: int, dtype: torch.dtype) -> None:
    x = normal(1, features, dtype=dtype) / features**0.5
    gate, up = normal(rows, features, dtype=dtype, seed=1), normal(rows, features, dtype=dtype, seed=2)
    expected = F.silu(F.linear(x.double(), gate.double())) * F.linear(x.double(), up.double())
    assert gap(gated_vector_product(x, gate, up), expected) <= 2 * TOLERANCE[dtype]


def test_a_slice_of_a_wider_matrix() -> None:
    x, weight = normal(1, 96), normal(40, 96, seed=1)
    assert torch.equal(vector_product(x, weight[7:19]), vector_product(x, weight)[:, 7:19])


def test_what_does_not_fit_is_one_line() -> None:
    x, weight = normal(1, 8), normal(4, 8)
    for call in (
        lambda: vector_product(normal(2, 8), weight),
        lambda: vector_product(normal(1, 16)[:, ::2], weight),
        lambda: vector_product(x, weight.T),
        lambda: vector_product(x, weight.double()),
        lambda: vector_product(x, weight, normal(3)),
        lambda: gated_vector_product(x, weight, normal(5, 8)),
    ):
        with pytest.raises(ValueError, match=r"\S+") as caught:
            call()
        assert "\n" not in str(caught.value)
