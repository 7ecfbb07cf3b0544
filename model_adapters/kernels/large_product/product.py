"""Products of many tokens by the algorithms that were measured to be fastest on this kind of GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
from torch import nn

from model_adapters.kernels.compiling import only_compiling
from model_adapters.kernels.large_product.cublas_lt import (
    ALIGNMENT,
    ROW_MULTIPLE,
    TYPES,
    Multiplier,
    ProductShape,
    load_cublas_lt,
)
from model_adapters.kernels.large_product.kept_algorithms import LEAST_TOKENS, kept_algorithms
from model_adapters.kernels.trial import TOLERANCE, gap

DEVICES = ("cuda",)
_SAMPLE_TOKENS = 64

_NOTED: ContextVar[set[ProductShape] | None] = ContextVar("products_noted", default=None)
_VERDICTS: dict[tuple[torch.device, ProductShape, bytes], bool] = {}


@contextmanager
def products_noted() -> Iterator[set[ProductShape]]:
    """Collect the shapes of the products of many tokens that this block asks for."""
    noted: set[ProductShape] = set()
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def large_product(
    x: torch.Tensor, weight_ND: torch.Tensor, residual: torch.Tensor | None = None
) -> torch.Tensor | None:
    """x · weightᵀ, or the residual after it has been added there; None if PyTorch's own product is to be used.

    That is so for fewer than LEAST_TOKENS tokens, for tensors that cuBLASLt could not read as they are, and if no
    algorithm is kept for this product or the one that is kept does not agree with PyTorch.
    """
    rows, features = weight_ND.shape
    if x.numel() < LEAST_TOKENS * features or not _fit(x, weight_ND, residual):
        return None
    shape = ProductShape(rows, features, residual is not None, x.dtype)
    if (noted := _NOTED.get()) is not None:
        noted.add(shape)
    kept, x_MD = kept_algorithms(x.device), x.flatten(0, -2)
    algorithm = None if kept is None else kept.find(shape, x_MD.shape[0])
    if algorithm is None or not _agrees(algorithm, shape, weight_ND):
        return None
    out = x.new_empty((*x.shape[:-1], rows)) if residual is None else residual
    return out if multiplier(x.device, shape).multiply(algorithm, x_MD, weight_ND, out) else None


def _agrees(algorithm: bytes, shape: ProductShape, weight_ND: torch.Tensor) -> bool:
    """Whether an algorithm multiplies as PyTorch does; tried once per process, as the file may be damaged."""
    key = weight_ND.device, shape, algorithm
    if key not in _VERDICTS and not only_compiling():
        x_MD = weight_ND[:_SAMPLE_TOKENS]
        out_MN = x_MD.new_ones((x_MD.shape[0], shape.rows))
        fits = multiplier(weight_ND.device, shape).multiply(algorithm, x_MD, weight_ND, out_MN)
        expected_MN = torch.mm(x_MD, weight_ND.t()) + int(shape.added)
        _VERDICTS[key] = fits and gap(out_MN, expected_MN) <= TOLERANCE[shape.dtype]
    return _VERDICTS.get(key, False)


def _fit(x: torch.Tensor, weight: torch.Tensor, residual: torch.Tensor | None) -> bool:
    """Whether all tensors are plain, alike and aligned, and contiguous except that x may be a slice of wider rows."""
    if x.device.type not in DEVICES or x.dtype not in TYPES or any(size % ROW_MULTIPLE for size in weight.shape):
        return False
    if type(x) is not torch.Tensor or type(weight) not in (torch.Tensor, nn.Parameter):
        return False
    tensors = (x, weight) if residual is None else (x, weight, residual)
    alike = all((tensor.dtype, tensor.device) == (x.dtype, x.device) for tensor in tensors)
    aligned = not any(tensor.data_ptr() % ALIGNMENT for tensor in tensors) and not x.stride(-2) % ROW_MULTIPLE
    return alike and aligned and x.stride(-1) == 1 and all(tensor.is_contiguous() for tensor in tensors[1:])


@lru_cache(maxsize=256)
def multiplier(device: torch.device, shape: ProductShape) -> Multiplier:
    """What runs products of a shape on a GPU; raises RuntimeError if there is no cuBLASLt."""
    library = load_cublas_lt()
    if library is None:
        raise RuntimeError("PyTorch has no cuBLASLt here")
    return Multiplier(library, device, shape)
