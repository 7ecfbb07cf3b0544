"""The outputs of a model's layers on the way to its logits.

Shape suffixes: T tokens, D hidden size, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.engine.forward.decoder_layers import decoder_layers

DEVICE_TOKENS = 128
"""Longest text whose trace stays on the model's device: 128 rows of 100,000 logits take 51 MB."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The outputs of all layers and the logits, in fp32; of a long text on the CPU, else on the model's device."""

    layers_TD: tuple[torch.Tensor, ...]
    """Empty for a model whose layers do not output one hidden state per token."""
    logits_TV: torch.Tensor

    def rows(self, positions: Sequence[int]) -> "Trace":
        """The same trace at some positions only."""
        if positions == range(len(self.logits_TV)):
            return self
        index_T = torch.tensor(positions, device=self.logits_TV.device)
        return Trace(tuple(layer[index_T] for layer in self.layers_TD), self.logits_TV[index_T])

    def to(self, device: torch.device) -> "Trace":
        """The same trace on a device."""
        return Trace(tuple(layer.to(device) for layer in self.layers_TD), self.logits_TV.to(device))


class LayerRecorder:
    """Collects the outputs of a decoder's layers over one or more passes of one sequence of `tokens` tokens."""

    def __init__(self, model: PreTrainedModel, tokens: int) -> None:
        self._device = model.device if tokens <= DEVICE_TOKENS else torch.device("cpu")
        self._layers = decoder_layers(model)
        self._parts: list[list[torch.Tensor]] = [[] for _ in self._layers]

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Collect every pass in this block."""
        handles = [layer.register_forward_hook(self._hook(index)) for index, layer in enumerate(self._layers)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def trace(self, logits_TV: torch.Tensor) -> Trace:
        """The collected passes, concatenated, with their logits."""
        tokens = len(logits_TV)
        # If layers run several times per pass or carry several streams, their outputs do not belong to one position.
        plain = all(sum(map(len, parts)) == tokens and parts[0].dim() == 2 for parts in self._parts)
        layers = tuple(torch.cat(parts) for parts in self._parts) if plain else ()
        return Trace(layers, self.kept(logits_TV))

    def kept(self, values: torch.Tensor) -> torch.Tensor:
        """A copy in fp32 where the trace is kept; later layers may write to their input."""
        return values.to(self._device, torch.float32, copy=True)

    def _hook(self, index: int) -> Any:
        def collect(_module: nn.Module, _arguments: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            self._parts[index].append(self.kept(hidden[0]))

        return collect
