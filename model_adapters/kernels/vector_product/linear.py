"""Linear products: on Triton kernels if there are one or a few tokens, otherwise on cuBLAS, as PyTorch calls it or by
an algorithm that was measured to be faster."""

import torch
import torch.nn.functional as F
from torch import nn

from model_adapters.kernels.compiling import verdicts_kept
from model_adapters.kernels.kernel_cache import checked_once
from model_adapters.kernels.large_product.product import large_product
from model_adapters.kernels.trial import KERNEL_DTYPES, random_sample, trial

_SAMPLE_ROWS = 5
_SAMPLE_TOKENS = (2, 33, 64)
KERNEL_DEVICES = ("cuda",)


def linear(x: torch.Tensor, weight_ND: torch.Tensor, bias_N: torch.Tensor | None = None) -> torch.Tensor:
    """Like `torch.nn.functional.linear`, with a kernel if x holds few vectors and the kernel has passed its check."""
    if is_one_vector(x, weight_ND) and has_vector_product(weight_ND):
        from model_adapters.kernels.vector_product.triton_vector_product import vector_product

        return vector_product(x, weight_ND, bias_N)
    if bias_N is None and use_few_rows(x, weight_ND):
        from model_adapters.kernels.vector_product.triton_few_rows import few_rows_product

        return few_rows_product(x, weight_ND)
    product = large_product(x, weight_ND) if bias_N is None else None
    return F.linear(x, weight_ND, bias_N) if product is None else product


def add_product(residual: torch.Tensor, x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """residual + layer(x), the sum within the product; many tokens' sums overwrite the residual."""
    has_bias = layer.bias is not None  # None if the layer was made without one, in spite of its type
    if has_bias or not residual.is_contiguous() or residual.dtype != layer.weight.dtype:
        own_output: torch.Tensor = layer(x)
        return residual + own_output
    if is_one_vector(x, layer.weight) and has_vector_product(layer.weight):
        from model_adapters.kernels.vector_product.triton_vector_product import vector_product

        return vector_product(x, layer.weight, residual.flatten())
    if use_few_rows(x, layer.weight):
        from model_adapters.kernels.vector_product.triton_few_rows import few_rows_product

        return few_rows_product(x, layer.weight, residual)
    if large_product(x, layer.weight, residual) is not None:
        return residual
    # In place: out of place, the residual would be copied first.
    residual.flatten(0, -2).addmm_(x.flatten(0, -2), layer.weight.t())
    return residual


def is_one_vector(x: torch.Tensor, weight_ND: torch.Tensor) -> bool:
    """Whether the kernel supports x with this matrix."""
    return x.numel() == weight_ND.shape[1] and x.dtype == weight_ND.dtype and x.is_contiguous()


def use_few_rows(x: torch.Tensor, weight_ND: torch.Tensor) -> bool:
    """Whether the kernel for few tokens supports x with this matrix, is right here, and is faster than PyTorch."""
    tokens = x.numel() // weight_ND.shape[1]
    if not 2 <= tokens <= _SAMPLE_TOKENS[-1] or x.device.type not in KERNEL_DEVICES or x.dtype != weight_ND.dtype:
        return False
    from model_adapters.kernels.vector_product import triton_few_rows

    fits = type(weight_ND) in (torch.Tensor, nn.Parameter) and triton_few_rows.is_supported(x, weight_ND)
    return (
        fits
        and triton_few_rows.pays(tokens, weight_ND)
        and _few_rows_agree(weight_ND.shape[1], weight_ND.dtype, weight_ND.device)
    )


@verdicts_kept(maxsize=64)
def _few_rows_agree(features: int, dtype: torch.dtype, device: torch.device) -> bool:
    def kernel(x: torch.Tensor, weight: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from model_adapters.kernels.vector_product.triton_few_rows import few_rows_product

        return few_rows_product(x, weight), few_rows_product(x, weight, residual)

    def reference(x: torch.Tensor, weight: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        product = F.linear(x.double(), weight.double())
        return product.to(x.dtype), (product + residual.double()).to(x.dtype)

    def sample(tokens: int) -> tuple[torch.Tensor, ...]:
        shapes = (tokens, features), (_SAMPLE_ROWS, features), (tokens, _SAMPLE_ROWS)
        return tuple(random_sample(shape, device, dtype, seed=seed) for seed, shape in enumerate(shapes))

    def check() -> str | None:
        return trial(kernel, reference, map(sample, _SAMPLE_TOKENS), dtype)

    return checked_once(device, "product of few rows", (features, dtype), check) is None


def has_vector_product(weight_ND: torch.Tensor) -> bool:
    """Whether the kernel runs on a matrix's device and agrees with PyTorch there; tested once per width."""
    plain = weight_ND.is_contiguous() and type(weight_ND) in (torch.Tensor, nn.Parameter)
    return (
        plain
        and weight_ND.device.type in KERNEL_DEVICES
        and _agrees(weight_ND.shape[1], weight_ND.dtype, weight_ND.device)
    )


@verdicts_kept(maxsize=64)
def _agrees(features: int, dtype: torch.dtype, device: torch.device) -> bool:
    def kernel(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from model_adapters.kernels.vector_product.triton_vector_product import vector_product

        # The second as the output embeddings take it: without bias and in fp32.
        return vector_product(x, weight, bias), vector_product(x, weight, out_dtype=torch.float32)

    def reference(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        product = F.linear(x.double(), weight.double())
        return (product + bias.double()).to(x.dtype), product.float()

    shapes = (1, features), (_SAMPLE_ROWS, features), (_SAMPLE_ROWS,)
    sample = tuple(random_sample(shape, device, dtype, seed=seed) for seed, shape in enumerate(shapes))
    if dtype not in KERNEL_DTYPES:
        return False
    checked = checked_once(
        device, "vector product", (features, dtype), lambda: trial(kernel, reference, [sample], dtype)
    )
    return checked is None
