"""The ways in which the engine computes the same positions: in one piece, in segments, from a prefix, in a batch.

Shape suffixes: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Sequence

import torch

from model_adapters.engine.model_runner import ModelRunner
from model_adapters.engine.slotted_cache import SlottedCache
from model_adapters.preflight.trace import LayerRecorder, Trace


def prefill_trace(runner: ModelRunner, token_ids: Sequence[int], segment_tokens: int) -> Trace:
    """All layers and logits of a prompt that is prefilled in segments."""
    return _prefill(runner, _cache(runner, 1, len(token_ids)), 0, token_ids, segment_tokens)


def prefix_trace(runner: ModelRunner, token_ids: Sequence[int], prefix_tokens: int) -> Trace:
    """The rest of a prompt, continued in another slot from a snapshot of its prefix."""
    cache = _cache(runner, 2, len(token_ids))
    _prefill(runner, cache, 0, token_ids[:prefix_tokens], prefix_tokens)
    snapshot = cache.snapshot(0)
    # What another sequence leaves behind in the slot must not matter.
    _prefill(runner, cache, 1, token_ids[::-1], len(token_ids))
    cache.reset(1)
    cache.restore(1, snapshot)
    rest = token_ids[prefix_tokens:]
    return _prefill(runner, cache, 1, rest, len(rest))


@torch.no_grad()
def batch_logits(
    runner: ModelRunner, token_ids: Sequence[int], lengths: Sequence[int], steps: int
) -> list[torch.Tensor]:
    """Logits [steps, V] of prompts of different lengths, all beginnings of `token_ids`, decoded together.

    Each goes on with the tokens that follow it in `token_ids`.
    """
    cache = _cache(runner, len(lengths), max(lengths) + steps)
    for slot, length in enumerate(lengths):
        cache.reset(slot)
        runner.prefill(cache, slot, token_ids[:length], len(token_ids))
    found_SBV = []
    for step in range(steps):
        id_B1 = torch.tensor([[token_ids[length + step]] for length in lengths], device=runner.device)
        found_SBV.append(runner.decode(cache, id_B1, max(cache.lengths) + 1).cpu())
    return list(torch.stack(found_SBV, dim=1))


@torch.no_grad()
def _prefill(
    runner: ModelRunner, cache: SlottedCache, slot: int, token_ids: Sequence[int], segment_tokens: int
) -> Trace:
    recorder = LayerRecorder(runner.model)
    with recorder.recording():
        logits = [
            runner.logits(output, 0, output.last_hidden_state.shape[1]).cpu()
            for output in runner.segments(cache, slot, token_ids, segment_tokens)
        ]
    return Trace(recorder.layers(), torch.cat(logits))


def _cache(runner: ModelRunner, slots: int, tokens: int) -> SlottedCache:
    return SlottedCache(runner.model.config, slots=slots, max_tokens=tokens, device=runner.device)
