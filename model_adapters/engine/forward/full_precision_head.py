"""Compute logits in fp32 for any dtype of the model, without a second copy of the output embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.kernels.vector_product.linear import has_vector_product, is_one_vector

BLOCK_ROWS = 8192
"""Number of vocabulary rows converted to fp32 at once."""


def output_embeddings(model: PreTrainedModel) -> torch.nn.Linear:
    """The model's output embeddings; raises UsageError if it has none."""
    head: torch.nn.Linear | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if head is None:
        raise UsageError(f"{type(model).__name__} has no language-model head; use a causal language model")
    return head


def full_precision_linear(x: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
    """x · weightᵀ + bias with fp32 sums and an fp32 result: [..., D] to [..., V]."""
    if weight_VD.dtype == torch.float32:
        return F.linear(x.float(), weight_VD, bias_V)
    if is_one_vector(x, weight_VD) and has_vector_product(weight_VD):
        from model_adapters.kernels.vector_product.triton_vector_product import vector_product

        return vector_product(x, weight_VD, bias_V, out_dtype=torch.float32)
    if weight_VD.is_cuda and x.dtype == weight_VD.dtype:
        # Products of half-precision numbers are exact in fp32, so converting the weights first would gain nothing.
        product: torch.Tensor = torch.mm(x.flatten(0, -2), weight_VD.t(), out_dtype=torch.float32).reshape(
            *x.shape[:-1], -1
        )
    else:
        starts = range(0, weight_VD.shape[0], BLOCK_ROWS)
        blocks = [F.linear(x.float(), weight_VD[start : start + BLOCK_ROWS].float()) for start in starts]
        product = torch.cat(blocks, dim=-1)
    return product if bias_V is None else product + bias_V.float()


@contextmanager
def full_precision_head(model: PreTrainedModel) -> Iterator[None]:
    """Compute the model's output embeddings in fp32 in this block; later operations on its logits still run."""
    head = output_embeddings(model)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return full_precision_linear(x, head.weight, head.bias)

    head.forward = forward  # type: ignore[assignment]  # for this instance only
    try:
        yield
    finally:
        del head.forward
