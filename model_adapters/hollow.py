"""Hollow models: their weights take no memory, and they run to measure memory use instead of results.

make_hollow(skeleton, torch.bfloat16)
with products_skipped():
    runner = ModelRunner(skeleton)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

LEAST_VALUES = 4096
"""Smaller tensors are real zeros, because modules may write to them."""
_FACTORS: dict[Any, int] = {
    torch.ops.aten.mm.default: 0,
    torch.ops.aten.bmm.default: 0,
    torch.ops.aten._grouped_mm.default: 0,
    torch.ops.aten.convolution.default: 0,
    torch.ops.aten.addmm.default: 1,
    torch.ops.aten.baddbmm.default: 1,
}
"""Operator -> index of the first factor among its arguments; the second one follows."""


def make_hollow(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Replace the weights of a model on the meta device by zeros: a single value each, expanded to the weight's shape.

    Floating-point weights get `dtype`.
    """
    made: dict[torch.Tensor, torch.Tensor] = {}  # tied weights stay tied
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None or tensor.device.type != "meta":
                    continue
                if tensor not in made:
                    shown = _hollow_tensor(name, tensor, dtype)
                    made[tensor] = nn.Parameter(shown, False) if isinstance(tensor, nn.Parameter) else shown
                tensors[name] = made[tensor]  # type: ignore[assignment]  # parameters and buffers alike


def _hollow_tensor(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if name == "position_ids":  # the only buffer whose values are known
        return torch.arange(tensor.shape[-1]).expand(tensor.shape)
    kind = dtype if tensor.is_floating_point() else tensor.dtype
    return torch.zeros(tensor.shape if tensor.numel() < LEAST_VALUES else (), dtype=kind).expand(tensor.shape)


@contextmanager
def products_skipped() -> Iterator[None]:
    """Skip products with a hollow weight in this block: the result is zeros, or NaN if the other factor has NaN.

    Convolutions count as products.
    """
    with _SkippedProducts():  # type: ignore[no-untyped-call]
        yield


class _SkippedProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the base looks at subclasses
    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._to_copy.default and _is_hollow(args[0]):
            # Stays hollow: a copy of the output embeddings in fp32 takes longer than all other operators together.
            return func(args[0].as_strided((), ()), **(kwargs or {})).expand(args[0].shape)
        first = _FACTORS.get(func)
        if first is None or not (_is_hollow(args[first]) or _is_hollow(args[first + 1])):
            return func(*args, **(kwargs or {}))
        # The bias is hollow too.
        one, other = args[first], args[first + 1]
        value = torch.nan if _has_nan(one) or _has_nan(other) else 0.0
        if func is torch.ops.aten.convolution.default:
            shape = func(*(_shape_only(arg) for arg in args)).shape
        else:
            shape = torch.Size((*one.shape[:-1], other.shape[-1]))
        return one.new_full(shape, value)


def _shape_only(value: Any) -> Any:
    return torch.empty_like(value, device="meta") if isinstance(value, torch.Tensor) else value


def _is_hollow(tensor: torch.Tensor) -> bool:
    return tensor.untyped_storage().nbytes() <= tensor.itemsize and tensor.numel() > 1


def _has_nan(tensor: torch.Tensor) -> bool:
    return not _is_hollow(tensor) and bool(tensor.isnan().any())
