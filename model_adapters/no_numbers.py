"""Build modules on the meta device without the parts of PyTorch that find out shapes in symbols.

For most functions of tensors without numbers PyTorch imports SymPy and its tracing of shapes, which takes 1 to 2 s.
Where modules are built, only what initializes them is such a function.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWN = ("kaiming_uniform_", "normal_", "trunc_normal_", "uniform_")
OF_SINGLE_NUMBERS = ("add", "clamp", "div", "exp", "expm1", "log", "mul", "neg", "pow", "rsub", "sqrt", "sub")
FEW_NUMBERS = 1 << 16


class NoNumbers(TorchFunctionMode):
    """In this block drawing numbers for a meta tensor does nothing, and functions of small ones run on zeros."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],  # PyTorch's signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        tensors = [one for one in (*args, *given.values()) if isinstance(one, torch.Tensor)]
        name = getattr(func, "__name__", None)
        if not tensors or not all(one.is_meta for one in tensors):
            return func(*args, **given)
        if name in DRAWN:
            return tensors[0]
        if name in OF_SINGLE_NUMBERS and all(one.numel() <= FEW_NUMBERS for one in tensors):
            found = func(*map(_zeros, args), **{key: _zeros(value) for key, value in given.items()})
            return torch.empty(found.shape, dtype=found.dtype, device="meta")
        return func(*args, **given)


def _zeros(value: Any) -> Any:
    """Zeros on the host in place of a tensor."""
    return torch.zeros(value.shape, dtype=value.dtype, device="cpu") if isinstance(value, torch.Tensor) else value
