"""What a model computes on the way to its logits, layer by layer.

Shape suffixes: T tokens, D hidden size, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Trace:
    """The outputs of every layer and the logits, in fp32 on the CPU."""

    layers_TD: tuple[torch.Tensor, ...]
    logits_TV: torch.Tensor

    def rows(self, first: int, end: int) -> "Trace":
        """The same at some positions."""
        return Trace(tuple(layer[first:end] for layer in self.layers_TD), self.logits_TV[first:end])


class LayerRecorder:
    """Collects the outputs of a decoder's layers over one or several passes of one sequence."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._layers = decoder_layers(model)
        self._parts: list[list[torch.Tensor]] = [[] for _ in self._layers]

    @contextmanager
    def recording(self) -> Iterator[None]:
        """While it lasts, every pass is collected."""
        handles = [layer.register_forward_hook(self._hook(index)) for index, layer in enumerate(self._layers)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def layers(self) -> tuple[torch.Tensor, ...]:
        """[T, D] for each layer: the passes one after another, of the first sequence."""
        return tuple(torch.cat(parts) for parts in self._parts)

    def _hook(self, index: int) -> Any:
        def collect(_module: nn.Module, _arguments: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            self._parts[index].append(hidden[0].float().cpu())

        return collect


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers, whatever the family calls them."""
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    found = [child for child in decoder.children() if isinstance(child, nn.ModuleList)]
    return max(found, key=len)


@contextmanager
def first_layers_only(model: PreTrainedModel, count: int) -> Iterator[None]:
    """While it lasts, the decoder has its first `count` layers alone."""
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    layers = decoder_layers(model)
    name = next(name for name, child in decoder.named_children() if child is layers)
    setattr(decoder, name, layers[:count])
    try:
        yield
    finally:
        setattr(decoder, name, layers)
