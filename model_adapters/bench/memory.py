"""Cost of prefill: seconds, and peak memory beyond weights and KV cache."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.allocation_counter import peak_bytes
from model_adapters.kernels.greedy_choice.choice import greedy_choice

PROMPT_SEED = 0


@dataclass(frozen=True, slots=True)
class PrefillMeasurement:
    """One prompt length."""

    context_tokens: int
    segment_tokens: int
    all_seconds: tuple[float, ...]
    """Time of repeated prefills, without tuning and compilation on first calls."""
    first_seconds: float
    """Time of the first two segments, with tuning, compilation and the allocation of the cache."""
    peak_bytes_above_weights_and_kv: int
    """Activations of one segment and the states of linear-attention layers."""
    kv_bytes: int
    state_bytes: int
    weights_bytes: int
    method: str
    """How memory was measured."""


def measure_prefill(
    model: PreTrainedModel,
    context_tokens: int,
    segment_tokens: int,
    *,
    repeats: int = 1,
    enough: Callable[[], bool] = lambda: False,
) -> PrefillMeasurement:
    """Prefill a random prompt into a cache of its size, once for memory and then `repeats` times for time.

    Two segments go first, because kernels choose, tune and compile themselves on their first calls, and because the
    cache is allocated then. On a GPU the peak is the allocator's; elsewhere every tensor allocation is counted, except
    what an operator allocates and frees inside itself. The model runs only through the engine afterwards. After one
    timed prefill, `enough` may end the others.
    """
    runner = ModelRunner(model)
    token_ids = random_prompt(model, context_tokens)
    cache = runner.new_cache(slots=1, max_tokens=context_tokens)

    def prefill(tokens: int) -> None:
        cache.reset(0)
        # Up to the first token, as the engine picks it; reading it waits for the device.
        greedy_choice(runner.prefill(cache, 0, token_ids[:tokens], segment_tokens)).tolist()

    first_seconds = _seconds(lambda: prefill(2 * segment_tokens))
    peak, _ = peak_bytes(lambda: prefill(context_tokens), runner.device)
    all_seconds: list[float] = []
    while len(all_seconds) < repeats and not (all_seconds and enough()):
        all_seconds.append(_seconds(lambda: prefill(context_tokens)))
    return PrefillMeasurement(
        context_tokens=context_tokens,
        segment_tokens=segment_tokens,
        all_seconds=tuple(all_seconds),
        first_seconds=first_seconds,
        peak_bytes_above_weights_and_kv=peak + cache.state_bytes,
        kv_bytes=cache.kv_bytes,
        state_bytes=cache.state_bytes,
        weights_bytes=sum(parameter.nbytes for parameter in model.parameters()),
        method="the CUDA allocator's peak" if runner.device.type == "cuda" else "counting every tensor allocation",
    )


def random_prompt(model: PreTrainedModel, tokens: int, *, seed: int = PROMPT_SEED) -> list[int]:
    """Token ids drawn evenly from the model's vocabulary."""
    vocabulary = next(model.get_input_embeddings().parameters()).shape[0]
    generator = torch.Generator().manual_seed(seed)
    token_ids: list[int] = torch.randint(vocabulary, (tokens,), generator=generator).tolist()
    return token_ids


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
