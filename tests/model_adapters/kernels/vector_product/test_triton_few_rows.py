"""Products of a few vectors against torch in fp64."""

import pytest
import torch

from model_adapters.kernels.trial import gap
from model_adapters.kernels.vector_product import linear as products
from model_adapters.kernels.vector_product import triton_few_rows
from model_adapters.kernels.vector_product.triton_few_rows import few_rows_product
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, TOLERANCE

# The interpreter has no half precision, and on a GPU fp32 operands would be rounded.
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32


def normal(*shape: int, dtype: torch.dtype = DTYPE, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return torch.randn(*shape, device=DEVICE, generator=generator).to(dtype)


@pytest.mark.parametrize(("tokens", "rows", "features"), [(2, 7, 96), (16, 64, 128), (33, 130, 200), (64, 65, 3840)])
def test_products(tokens: int, rows: int, features: int) -> None:
    x = normal(1, tokens, features + 8)[..., :features]  # a slice of wider rows
    weight, residual = normal(rows, features, seed=1), normal(1, tokens, rows, seed=2)
    expected = x.double() @ weight.double().t()
    assert gap(few_rows_product(x, weight), expected) <= TOLERANCE[DTYPE]
    found = few_rows_product(x, weight, residual)
    assert found.shape == residual.shape
    assert gap(found, expected + residual.double()) <= TOLERANCE[DTYPE]
    assert torch.equal(found, few_rows_product(x, weight, residual))


def test_what_does_not_fit_is_one_line() -> None:
    x, weight = normal(3, 8), normal(4, 8)
    for call in (
        lambda: few_rows_product(normal(65, 8), weight),
        lambda: few_rows_product(normal(3, 16)[:, ::2], weight),
        lambda: few_rows_product(x, weight.T),
        lambda: few_rows_product(x, weight.double()),
        lambda: few_rows_product(x, weight, normal(3, 5)),
    ):
        with pytest.raises(ValueError, match=r"\S+") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_kernel_is_taken_where_all_its_programs_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_few_rows, "_multiprocessors", lambda device: 2)
    assert [triton_few_rows.pays(tokens, normal(256, 8)) for tokens in (1, 2, 32, 33, 64, 65)] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert triton_few_rows.pays(64, normal(128, 8))
    assert not triton_few_rows.pays(32, normal(257, 8))


def test_linear_layers_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "KERNEL_DEVICES", (DEVICE,))
    monkeypatch.setattr(triton_few_rows, "DTYPES", (DTYPE,))
    calls = []
    own = triton_few_rows.few_rows_product

    def counted(x: torch.Tensor, weight: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        calls.append(x.shape)
        return own(x, weight, residual)

    monkeypatch.setattr(triton_few_rows, "few_rows_product", counted)
    x, layer = normal(1, 3, 96), torch.nn.Linear(96, 40, bias=False, device=DEVICE, dtype=DTYPE)
    residual = normal(1, 3, 40, seed=2)
    with torch.no_grad():
        expected = layer(x)
        assert gap(products.linear(x, layer.weight), expected) <= TOLERANCE[DTYPE]
        before = len(calls)
        assert gap(products.add_product(residual.clone(), x, layer), residual + expected) <= 2 * TOLERANCE[DTYPE]
        assert len(calls) == before + 1
        products.linear(normal(1, 65, 96), layer.weight)
        assert len(calls) == before + 1
        # As of Mamba's mixers: features are not next to each other, and only a copy could be taken for rows.
        turned = normal(2, 96, 8).mT
        assert gap(products.linear(turned, layer.weight), layer(turned)) <= TOLERANCE[DTYPE]
        assert len(calls) == before + 1
