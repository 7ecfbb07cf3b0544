"""Skip work in the last layer whose result is never read: for most tokens of a segment, only the KV cache matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def last_mlp(decoder: nn.Module) -> nn.Module | None:
    """The MLP of a decoder's last layer if it is dense and returns one tensor; otherwise None."""
    layers = getattr(decoder, "layers", None)
    mlp = getattr(layers[-1], "mlp", None) if isinstance(layers, nn.ModuleList) and len(layers) else None
    dense = all(type(getattr(mlp, name, None)) is nn.Linear for name in ("up_proj", "down_proj"))
    return mlp if isinstance(mlp, nn.Module) and dense else None


@contextmanager
def only_read_tokens(mlp: nn.Module | None, read: int | torch.Tensor) -> Iterator[None]:
    """Limit an MLP to the last `read` tokens of [B, T, D], or to the given indices of [1, T, D], in this block.

    The other tokens' outputs are their residuals or zeros: nothing reads them, but they stay finite.
    """
    if mlp is None:
        yield
        return
    placed: Any = mlp.__dict__.get("forward")
    whole = mlp.forward

    def forward(x: torch.Tensor, *args: Any, residual: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if isinstance(read, int) and x.shape[1] <= read:
            return whole(x, *args, **kwargs) if residual is None else whole(x, *args, residual=residual, **kwargs)
        places = slice(x.shape[1] - read, None) if isinstance(read, int) else read
        out = torch.zeros_like(x) if residual is None else residual
        if not isinstance(read, int) or read:
            part = whole(x[:, places].contiguous(), *args, **kwargs)
            out[:, places] = part if residual is None else out[:, places] + part
        return out

    mlp.forward = forward  # in this block only
    try:
        yield
    finally:
        if placed is None:
            del mlp.forward
        else:
            mlp.forward = placed
