"""Logits in fp32 whatever the model's dtype, without a second copy of the output embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

BLOCK_ROWS = 8192
"""Vocabulary rows that are held in fp32 at once."""


def full_precision_linear(x: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
    """x · weightᵀ + bias with fp32 sums and an fp32 result: [..., D] to [..., V]."""
    if weight_VD.dtype == torch.float32:
        return F.linear(x.float(), weight_VD, bias_V)
    blocks = [F.linear(x.float(), rows.float()) for rows in weight_VD.split(BLOCK_ROWS)]
    product = torch.cat(blocks, dim=-1)
    return product if bias_V is None else product + bias_V.float()


@contextmanager
def full_precision_head(model: PreTrainedModel) -> Iterator[None]:
    """Let the model's output embeddings compute in fp32; what the model does to its logits afterwards still happens."""
    head = model.get_output_embeddings()

    def forward(x: torch.Tensor) -> torch.Tensor:
        return full_precision_linear(x, head.weight, head.bias)

    head.forward = forward
    try:
        yield
    finally:
        del head.forward
