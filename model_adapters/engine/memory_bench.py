"""What prefill costs: seconds, and the peak of memory above weights and keys/values."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from model_adapters.engine.allocation_counter import AllocationCounter
from model_adapters.engine.model_runner import ModelRunner
from model_adapters.engine.slotted_cache import SlottedCache

PROMPT_SEED = 0


@dataclass(frozen=True, slots=True)
class PrefillMeasurement:
    """One prompt length."""

    context_tokens: int
    segment_tokens: int
    seconds: float
    """Of a prefill after others, without what kernels tune and compile on their first calls."""
    peak_bytes_above_weights_and_kv: int
    """Activations of one segment and the states of linear-attention layers."""
    kv_bytes: int
    state_bytes: int
    weights_bytes: int
    method: str
    """How memory was measured."""


def measure_prefill(model: PreTrainedModel, context_tokens: int, segment_tokens: int) -> PrefillMeasurement:
    """Prefill a random prompt into a cache of its size, for memory and once more for time.

    Two segments go first, because kernels choose, tune and compile themselves on their first calls, and because the
    cache is allocated then. On a GPU the peak is the allocator's; elsewhere every tensor allocation is counted, except
    what an operator allocates and frees inside itself. The model runs only through the engine afterwards.
    """
    runner = ModelRunner(model)
    vocabulary = next(model.get_input_embeddings().parameters()).shape[0]
    generator = torch.Generator().manual_seed(PROMPT_SEED)
    token_ids = torch.randint(vocabulary, (context_tokens,), generator=generator).tolist()
    cache = SlottedCache(model.config, slots=1, max_tokens=context_tokens, device=runner.device)

    def prefill(tokens: int) -> None:
        cache.reset(0)
        # Reading the logits waits for the device.
        runner.prefill(cache, 0, token_ids[:tokens], segment_tokens).tolist()

    prefill(2 * segment_tokens)
    peak_bytes = _peak_bytes(lambda: prefill(context_tokens), runner.device)
    started = time.perf_counter()
    prefill(context_tokens)
    return PrefillMeasurement(
        context_tokens=context_tokens,
        segment_tokens=segment_tokens,
        seconds=time.perf_counter() - started,
        peak_bytes_above_weights_and_kv=peak_bytes + cache.state_bytes,
        kv_bytes=cache.kv_bytes,
        state_bytes=cache.state_bytes,
        weights_bytes=sum(parameter.nbytes for parameter in model.parameters()),
        method="the CUDA allocator's peak" if runner.device.type == "cuda" else "counting every tensor allocation",
    )


def _peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """The most that is allocated at once during the work, above what was there before it."""
    if device.type != "cuda":
        counter = AllocationCounter()
        with counter:
            work()
        return counter.peak_bytes
    torch.cuda.synchronize(device)
    before: int = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    peak: int = torch.cuda.max_memory_allocated(device)
    return peak - before
