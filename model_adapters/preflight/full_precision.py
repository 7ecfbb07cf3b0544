"""Run a half-precision model in fp32 without a second copy of its weights."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.engine.forward.decoder_layers import decoder_layers


@contextmanager
def in_full_precision(model: PreTrainedModel) -> Iterator[None]:
    """Let forward passes compute in fp32 in this block, converting the weights of one layer at a time.

    Embeddings and output head keep their weights: embedded tokens are converted, and the caller converts the head.
    """
    layers = set(decoder_layers(model))
    inside = {module for layer in layers for module in layer.modules()}
    outside = [module for module in model.modules() if module not in inside]
    tables = [module for module in outside if isinstance(module, nn.Embedding)]
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    with ExitStack() as stack:
        for table in tables:
            stack.callback(table.register_forward_hook(lambda _module, _arguments, output: output.float()).remove)
        for module in outside:
            if module not in tables and module is not head:
                stack.enter_context(_Raised(module, recurse=False))
        for layer in layers:
            stack.enter_context(_raised_while_it_runs(layer))
        yield


class _Raised:
    """Converts a module's floating-point tensors to fp32 and restores the original ones."""

    def __init__(self, module: nn.Module, *, recurse: bool) -> None:
        self._module, self._recurse = module, recurse
        self._own: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __enter__(self) -> None:
        for tensor in (*self._module.parameters(self._recurse), *self._module.buffers(self._recurse)):
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                self._own.append((tensor, tensor.data))
                tensor.data = tensor.data.float()

    def __exit__(self, *_: Any) -> None:
        for tensor, own in self._own:
            tensor.data = own
        self._own.clear()


@contextmanager
def _raised_while_it_runs(layer: nn.Module) -> Iterator[None]:
    raised = _Raised(layer, recurse=True)
    handles = (
        layer.register_forward_pre_hook(lambda *_: raised.__enter__()),
        # Also after an error, so that no layer stays in fp32.
        layer.register_forward_hook(lambda *_: raised.__exit__(), always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
