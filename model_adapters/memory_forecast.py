"""What a run will take, told before the weights are read: they, the slots at its longest context, one segment."""

import math
from pathlib import Path

import torch

from evalkit.errors import RequestFailedError, UsageError
from model_adapters.checkpoint import open_checkpoint
from model_adapters.engine.memory_plan import Needs, available_bytes, plan_request, plannable_bytes
from model_adapters.loading import find_device, find_dtype, read_config
from model_adapters.weights import tensor_headers, weight_files


def forecast_memory(
    model: str,
    max_tokens: int,
    *,
    device: str,
    dtype: str,
    segment_tokens: int | None = None,
    slots: int | None = None,
    trust_remote_code: bool = False,
) -> str:
    """One line with the plan for sequences of `max_tokens` tokens; the arguments are those of `load_model`.

    Raises UsageError where a GPU has too little memory, saying how much is missing and what would fit, and for what
    `load_model` refuses in a checkpoint's configuration.
    """
    place = find_device(device)
    checkpoint = open_checkpoint(model, with_weights=True, trust_remote_code=trust_remote_code)
    config = read_config(checkpoint, trust_remote_code)
    number = find_dtype(dtype, place)
    if isinstance(number, str):
        number = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    shapes = [shape for file in weight_files(checkpoint) for shape in _shapes(model, file)]
    weights = sum(math.prod(shape) for shape in shapes) * number.itemsize
    needs = Needs.of(config.get_text_config(), number, on_gpu=place.type == "cuda")
    free = plannable_bytes(available_bytes(place) - weights, on_gpu=needs.on_gpu)
    try:
        plan = plan_request(needs, free, max_tokens, segment_tokens=segment_tokens, slots=slots)
    except RequestFailedError as error:
        line = f"{model}: beside {_gib(weights)} of weights, {error}"
        if needs.on_gpu:
            raise UsageError(line) from error
        return line
    per_slot, segment = needs.slot.bytes(plan.max_tokens), plan.segment_tokens * needs.activation_bytes_per_token
    return (
        f"memory: {_gib(weights)} of weights, {plan.slots} × {_gib(per_slot)} of keys, values and states at "
        f"{plan.max_tokens:,} tokens, {_gib(segment)} for a segment of {plan.segment_tokens:,}; "
        f"{_gib(available_bytes(place))} free on {place}"
    )


def _shapes(model: str, file: Path) -> list[tuple[int, ...]]:
    headers = tensor_headers(model, file).values() if file.suffix == ".safetensors" else ()
    return [header.shape for header in headers]


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
