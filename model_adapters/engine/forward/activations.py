"""Measure the memory that activations take on a GPU by running a segment, because kernels decide what they allocate."""

import math
from dataclasses import replace
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.allocation_counter import peak_bytes
from model_adapters.engine.memory.cost import Needs
from model_adapters.failures import Failure, attempt
from model_adapters.module_patches import patches_of

MARGIN = 1.1
"""Factor on what was measured: later segments have more keys before them, and the allocator rounds sizes up."""
LEAST_TOKENS = 256

_KNOWN: WeakKeyDictionary[PreTrainedModel, dict[tuple[object, ...], dict[int, int]]] = WeakKeyDictionary()
"""What was measured of each model, by the functions that it ran and the size of the segment."""


def needs_of(runner: ModelRunner, segment_tokens: int, longest: int | None = None) -> Needs:
    """The memory that a model needs: activations are measured on a GPU and estimated elsewhere.

    `segment_tokens` is the size of the segment to run, and `longest` the last position of the model, if it has one.
    """
    if runner.device.type != "cuda":
        return runner.needs
    return measured_needs(runner, segment_tokens, longest)


def measured_needs(runner: ModelRunner, segment_tokens: int, longest: int | None = None) -> Needs:
    """The needs with the activations of one segment that follows another, measured once for a loaded model.

    A segment for which memory does not suffice is halved. The estimate remains if none runs: whatever the reason, it is
    then reported for a request.
    """
    tokens = segment_tokens if longest is None else min(segment_tokens, longest // 2)
    while tokens >= min(LEAST_TOKENS, segment_tokens):
        found = attempt(lambda tokens=tokens: known_activation_bytes(runner, tokens))  # type: ignore[misc]
        if not isinstance(found, Failure):
            return replace(runner.needs, activation_bytes_per_token=math.ceil(MARGIN * found / tokens))
        if not found.out_of_memory:
            break
        tokens //= 2
    return runner.needs


def known_activation_bytes(runner: ModelRunner, tokens: int) -> int:
    """As `activation_bytes`, but measured again only if the model runs other functions than before."""
    known = known_by_size(runner.model)
    if tokens not in known:
        known[tokens] = activation_bytes(runner, tokens)
    return known[tokens]


def known_by_size(model: PreTrainedModel) -> dict[int, int]:
    """What has been measured of a model with the functions that it runs now, by the size of the segment."""
    return _KNOWN.setdefault(model, {}).setdefault(patches_of(model).placed, {})


def activation_bytes(runner: ModelRunner, tokens: int) -> int:
    """Peak memory beyond weights and cache while a segment of this size is read behind another one."""
    # A family that continues from its states only token by token reads prompts in one piece.
    before = tokens if runner.layout.continues else 0
    cache = runner.new_cache(slots=1, max_tokens=before + tokens)
    runner.allocate(cache)
    cache.advance_slot(0, before)
    peak, _ = peak_bytes(lambda: runner.prefill(cache, 0, [0] * tokens, tokens).tolist(), runner.device)
    return peak
