"""Test whether a segment of many tokens continues from the states of the segment before it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.engine.forward.decoder_layers import count_to_last_kind, decoder_layers, first_layers_only
from model_adapters.engine.forward.probe import NotSupportedError
from model_adapters.engine.memory.slotted_cache import SlottedCache

TOKENS = 3


class Runner(Protocol):
    """The part of the model runner used here."""

    @property
    def model(self) -> PreTrainedModel: ...

    @property
    def device(self) -> torch.device: ...

    def new_cache(self, *, slots: int, max_tokens: int) -> SlottedCache: ...

    def read(self, cache: SlottedCache, slot: int, token_ids: Sequence[int], segment_tokens: int) -> Any: ...

    def branch(self, cache: SlottedCache, slots: Sequence[int], texts: Sequence[Sequence[int]]) -> Any: ...

    def decode(self, cache: SlottedCache, id_B1: torch.Tensor, places: int) -> torch.Tensor: ...


@torch.no_grad()
def continues_from_states(runner: Runner) -> bool:
    """Run a second segment, a branch and a decode step, so that their failures appear now.

    Returns False if neither a layer's new recurrent state nor its output depends on its old state: some families read a
    state only for a single new token, and otherwise start anew. Raises NotSupportedError if modules keep state between
    passes outside the cache.
    """
    cache = runner.new_cache(slots=2, max_tokens=2 * TOKENS + 1)
    with first_layers_only(runner.model, count_to_last_kind(runner.model, cache.layout.layers)):
        runner.read(cache, 0, range(TOKENS), TOKENS)
        _set_states(cache, torch.nan)
        held = _held_tensors(runner.model)
        with _clean_layers(decoder_layers(runner.model)) as touched:
            runner.read(cache, 0, range(TOKENS), TOKENS)
        if changed := held.symmetric_difference(_held_tensors(runner.model)):
            raise NotSupportedError(f"keeps state outside the cache ({min(changed)[0]})")
        continued = all(
            index in touched or state[0].isnan().any()
            for index, layer in enumerate(cache.states)
            for state in layer.recurrent.values()
        )
        _set_states(cache, 0.0)
        runner.branch(cache, [0, 0], [range(TOKENS), range(TOKENS)])
        runner.decode(cache, torch.zeros((2, 1), dtype=torch.long, device=runner.device), cache.max_tokens)
    return continued


def _held_tensors(model: nn.Module) -> set[tuple[str, str, int]]:
    """The tensors that modules hold besides weights and buffers, as class, name and address."""
    return {
        (type(module).__name__, name, value.data_ptr())
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    }


def _set_states(cache: SlottedCache, value: float) -> None:
    for layer in cache.states:
        for state in layer.recurrent.values():
            state.fill_(value)


@contextmanager
def _clean_layers(layers: nn.ModuleList) -> Iterator[set[int]]:
    """Replace NaN between layers in this block; yields the set of layers whose output had NaN."""
    touched: set[int] = set()

    def clean(index: int, output: Any) -> Any:
        outputs = output if type(output) is tuple else (output,)
        cleaned = tuple(_without_nan(value) for value in outputs)
        if any(one is not other for one, other in zip(outputs, cleaned, strict=True)):
            touched.add(index)
        return cleaned if type(output) is tuple else cleaned[0]

    handles = [
        layer.register_forward_hook(lambda _module, _arguments, output, index=index: clean(index, output))
        for index, layer in enumerate(layers)
    ]
    try:
        yield touched
    finally:
        for handle in handles:
            handle.remove()


def _without_nan(value: Any) -> Any:
    tainted = isinstance(value, torch.Tensor) and value.is_floating_point() and value.isnan().any()
    return value.nan_to_num() if tainted else value
