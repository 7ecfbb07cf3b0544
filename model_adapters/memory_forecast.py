"""Memory forecast of a run before weights are read: weights, sequences at the longest context, one chunk."""

import sys
import time
from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from evalkit.errors import RequestFailedError, UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.architecture import read_config, skeleton
from model_adapters.checkpoint import open_checkpoint
from model_adapters.engine.memory.cost import Needs, activation_bytes_per_token
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.scheduling.fixed_shapes import fix_shapes
from model_adapters.engine.scheduling.memory_plan import (
    EnginePlan,
    GivenSizes,
    available_bytes,
    plan_request,
    plannable_bytes,
    taken_bytes,
)
from model_adapters.failures import WAITS_SECONDS
from model_adapters.loading import count_parameters, find_device, find_dtype
from model_adapters.position_override import PositionOverride
from model_adapters.support import checkpoint_support, number_format

TAKEN_BYTES = 2 * 2**30
"""Memory taken by others from which on waiting for it may help; this process's own context takes less."""


def forecast_memory(options: ModelOptions, need_tokens: int, loaded_bytes: int = 0) -> str:
    """The plan for sequences of `need_tokens` tokens, in one line.

    Weights are counted as they will be in memory: dequantized, if they are stored quantized; `loaded_bytes` of them are
    in memory already, and count as free. Raises UsageError if a GPU has too little memory, with what is missing and
    what would fit, and for what `load_model` refuses in a checkpoint's configuration.
    """
    model, place = options.model, find_device(options.device)
    checkpoint = open_checkpoint(model, trust_remote_code=options.trust_remote_code)
    config = read_config(checkpoint, options.trust_remote_code)
    if options.override is not None:
        PositionOverride.parse(options.override).configure(config)
    number = number_format(config, find_dtype(options.dtype, place))
    frame = skeleton(checkpoint, config, options.trust_remote_code)
    weights = count_parameters(frame) * number.itemsize
    layout = checkpoint_support(checkpoint, config, number, options.trust_remote_code)
    if layout is None:
        return f"memory: {_gib(weights)} of weights; what sequences take is measured once they are read"
    activations = activation_bytes_per_token(config.get_text_config(decoder=True), number)
    needs = Needs(
        layout.cost,
        activations,
        on_gpu=place.type == "cuda",
        weights_bytes=weights,
        logit_count=getattr(config.get_text_config(decoder=True), "vocab_size", 0),
        in_one_piece=not layout.continues,
    )
    given = _given(options, frame, layout, on_gpu=needs.on_gpu)

    def planned() -> EnginePlan:
        free = plannable_bytes(available_bytes(place) + loaded_bytes - weights, on_gpu=needs.on_gpu)
        return plan_request(needs, free, need_tokens, given)

    try:
        plan = _once_others_have_left(planned, place) if needs.on_gpu else planned()
    except RequestFailedError as error:
        line = f"{model}: in addition to {_gib(weights)} of weights, {error}"
        if needs.on_gpu:
            raise UsageError(line) from error
        return line
    per_slot, segment = needs.slot.bytes(plan.max_tokens), plan.segment_tokens * needs.activation_bytes_per_token
    # Once the weights are on a GPU, activations are measured there and take less than estimated.
    bound = "at least " if needs.on_gpu and options.batch_sequences is None else ""
    return (
        f"memory: {_gib(weights)} of weights, {bound}{plan.slots} × {_gib(per_slot)} of KV cache and states at "
        f"{plan.max_tokens:,} tokens, {_gib(segment)} for a segment of {plan.segment_tokens:,}; "
        f"{_gib(available_bytes(place) + loaded_bytes)} free on {place}"
    )


def _once_others_have_left(planned: Callable[[], EnginePlan], place: torch.device) -> EnginePlan:
    """The plan; if it does not fit while others hold much of the GPU, it is made again after a pause.

    A GPU returns the memory of a process that has just left only after a moment.
    """
    for seconds in WAITS_SECONDS:
        try:
            return planned()
        except RequestFailedError:
            if (taken := taken_bytes(place)) < TAKEN_BYTES:
                raise
            others = f"{_gib(taken)} of {place} are taken by others, too much for this run"
            print(f"evalkit: {others}; trying again in {seconds:g} s", file=sys.stderr)
        time.sleep(seconds)
    return planned()


def _given(options: ModelOptions, frame: PreTrainedModel, layout: MemoryLayout, *, on_gpu: bool) -> GivenSizes:
    sizes = options.segment_tokens, options.batch_sequences
    return (
        GivenSizes.of(fix_shapes(frame, layout, *sizes, on_gpu=on_gpu))
        if options.batch_invariant
        else GivenSizes(*sizes)
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
