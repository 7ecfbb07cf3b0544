"""Products by kept algorithms: on a GPU by cuBLASLt, and elsewhere by a stand-in for it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from model_adapters.kernels.large_product import kept_algorithms, product
from model_adapters.kernels.large_product.cublas_lt import ALGORITHM_BYTES, ProductShape, load_cublas_lt
from model_adapters.kernels.large_product.kept_algorithms import KeptAlgorithms
from model_adapters.kernels.large_product.product import large_product, multiplier, products_noted
from model_adapters.kernels.vector_product.linear import add_product, linear

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
TOKENS, ROWS, FEATURES = 4096, 24, 16
STORED = bytes(range(ALGORITHM_BYTES))

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class StandIn:
    """Multiplies on a CPU, and counts how often; `refuses` every algorithm, or `errs` in every product."""

    def __init__(self, *, refuses: bool, errs: bool) -> None:
        self.refuses, self.errs, self.adds, self.calls = refuses, errs, False, 0

    def of(self, device: torch.device, shape: ProductShape) -> "StandIn":
        self.adds = shape.added
        return self

    def multiply(self, algorithm: bytes, x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> bool:
        assert algorithm == STORED
        self.calls += 1
        if not self.refuses:
            out.copy_(x @ weight.t() * (1.1 if self.errs else 1) + (out if self.adds else 0))
        return not self.refuses


def tensors(dtype: torch.dtype = torch.bfloat16) -> Tensors:
    generator = torch.Generator(DEVICE).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=DEVICE).to(dtype)

    return normal(1, TOKENS, FEATURES), normal(ROWS, FEATURES), normal(1, TOKENS, ROWS)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KeptAlgorithms:
    monkeypatch.setattr(kept_algorithms, "kernel_folder", lambda: tmp_path)
    found = KeptAlgorithms({"gpu": "test"})
    monkeypatch.setattr(product, "kept_algorithms", lambda device: found)
    monkeypatch.setattr(product, "_VERDICTS", {})
    return found


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, kept: KeptAlgorithms) -> Callable[..., StandIn]:
    """A stand-in for cuBLASLt whose algorithm is kept for the products of `tensors`."""

    def place(*, refuses: bool = False, errs: bool = False) -> StandIn:
        found = StandIn(refuses=refuses, errs=errs)
        monkeypatch.setattr(product, "multiplier", found.of)
        monkeypatch.setattr(product, "DEVICES", ("cuda", "cpu"))
        for added in (False, True):
            kept.keep(ProductShape(ROWS, FEATURES, added, torch.bfloat16), TOKENS, STORED)
        return found

    return place


@pytest.mark.skipif(GPU, reason="the real library multiplies there")
def test_a_kept_algorithm_multiplies_and_adds_in_place(stand_in: Callable[..., StandIn]) -> None:
    library, (x, weight, residual) = stand_in(), tensors()
    expected = x @ weight.t()
    assert torch.equal(linear(x, weight), expected)
    before, layer = residual.clone(), nn.Linear(FEATURES, ROWS, bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    found = add_product(residual, x, layer)
    assert found is residual
    assert torch.equal(found, before + expected)
    assert library.calls == 4  # each algorithm is tried once
    assert torch.equal(linear(x, weight), expected)
    assert library.calls == 5


@pytest.mark.skipif(GPU, reason="the real library multiplies there")
@pytest.mark.parametrize("fault", ["refuses", "errs"])
def test_an_algorithm_that_fails_leaves_products_to_pytorch(stand_in: Callable[..., StandIn], fault: str) -> None:
    library, (x, weight, _) = stand_in(**{fault: True}), tensors()
    for _ in range(2):
        assert torch.equal(linear(x, weight), x @ weight.t())
    assert library.calls == 1


@pytest.mark.skipif(GPU, reason="the real library multiplies there")
def test_tokens_may_be_slices_of_wider_rows(stand_in: Callable[..., StandIn]) -> None:
    library, (x, weight, _) = stand_in(), tensors()
    assert torch.equal(linear(x.repeat(1, 1, 2)[..., :FEATURES], weight), x @ weight.t())
    assert library.calls == 2


@pytest.mark.skipif(GPU, reason="the real library multiplies there")
@pytest.mark.parametrize(
    "change",
    [
        lambda x, w: (x[:, :3071], w),
        lambda x, w: (x.float(), w.float()),
        lambda x, w: (x, w.float()),
        lambda x, w: (x.repeat(1, 1, 2)[..., ::2], w),
        lambda x, w: (torch.cat([x, x[..., :4]], dim=-1)[..., :FEATURES], w),
        lambda x, w: (x, w.t().contiguous().t()),
        lambda x, w: (x, w[:7].clone()),
        lambda x, w: (x, torch.zeros(ROWS * FEATURES + 1, dtype=w.dtype)[1:].view(ROWS, FEATURES)),
    ],
    ids=[
        "few tokens",
        "fp32",
        "two dtypes",
        "strided features",
        "unaligned rows",
        "strided matrix",
        "7 rows",
        "unaligned",
    ],
)
def test_what_cublas_could_not_read_is_left_to_pytorch(
    stand_in: Callable[..., StandIn], change: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
) -> None:
    library, (x, weight, _) = stand_in(), tensors()
    assert large_product(*change(x, weight)) is None
    assert library.calls == 0
    assert large_product(x, weight) is not None


def test_products_of_many_tokens_are_noted(stand_in: Callable[..., StandIn]) -> None:
    stand_in()
    x, weight, residual = tensors()
    with products_noted() as noted:
        linear(x, weight)
        linear(x[:, :100], weight)
        large_product(x, weight, residual)
    linear(x, weight[:8])
    assert noted == {ProductShape(ROWS, FEATURES, added, torch.bfloat16) for added in (False, True)}


@pytest.mark.skipif(not GPU or load_cublas_lt() is None, reason="needs cuBLASLt")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize(("tokens", "rows", "features"), [(4096, 3840, 1024), (8191, 520, 264)])
def test_every_algorithm_multiplies(dtype: torch.dtype, added: bool, tokens: int, rows: int, features: int) -> None:
    shape, generator = ProductShape(rows, features, added, dtype), torch.Generator(DEVICE).manual_seed(0)
    x, weight, held = (
        torch.randn(sizes, generator=generator, device=DEVICE).to(dtype)
        for sizes in ((tokens, features), (rows, features), (tokens, rows))
    )
    expected = x.double() @ weight.double().t() + (held.double() if added else 0)
    found = multiplier(DEVICE, shape).candidates(tokens, 8)
    assert found
    wider = torch.cat([x, x], dim=1)[:, :features]
    for algorithm in found:
        for same in (x, wider):
            out = held.clone()
            assert multiplier(DEVICE, shape).multiply(algorithm, same, weight, out)
            assert (out.double() - expected).norm() <= 4e-3 * expected.norm()


@pytest.mark.skipif(not GPU or load_cublas_lt() is None, reason="needs cuBLASLt")
def test_a_damaged_algorithm_leaves_the_product_to_pytorch(kept: KeptAlgorithms) -> None:
    x, weight, _ = tensors()
    kept.keep(ProductShape(ROWS, FEATURES, False, torch.bfloat16), TOKENS, b"\xff" * ALGORITHM_BYTES)
    assert torch.equal(linear(x, weight), x @ weight.t())
