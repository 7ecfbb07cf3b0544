"""Compute the same positions in each of the engine's ways: in one piece, in segments, from a cached prefix, in branches
and in a batch.

Shape suffixes: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Sequence

import torch

from model_adapters.engine.forward.decode_graph import DECODE_PLACES
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.preflight.trace import LayerRecorder, Trace


def prefill_trace(runner: ModelRunner, token_ids: Sequence[int], segment_tokens: int) -> Trace:
    """Layers and logits of a prompt that is prefilled in segments."""
    return _prefill(runner, runner.new_cache(slots=1, max_tokens=len(token_ids)), token_ids, segment_tokens)


@torch.no_grad()
def prefix_cache(runner: ModelRunner, token_ids: Sequence[int], segment_tokens: int) -> SlottedCache:
    """A cache of one slot that holds a prefix, as in the engine's prefix cache."""
    cache = runner.new_cache(slots=1, max_tokens=len(token_ids))
    runner.read(cache, 0, token_ids, segment_tokens)
    return cache


def reused_trace(runner: ModelRunner, prefix: SlottedCache, token_ids: Sequence[int]) -> Trace:
    """Layers and logits of the rest of a prompt after a cached prefix, in a slot used before by another sequence."""
    rest = token_ids[prefix.lengths[0] :]
    cache = runner.new_cache(slots=1, max_tokens=len(token_ids))
    # Whatever another sequence leaves in the slot must not matter.
    _prefill(runner, cache, rest[::-1], len(rest))
    cache.reset(0)
    cache.adopt(0, prefix, 0)
    return _prefill(runner, cache, rest, len(rest))


@torch.no_grad()
def branch_logits(
    runner: ModelRunner, prefix: SlottedCache, token_ids: Sequence[int], lengths: Sequence[int]
) -> torch.Tensor:
    """Logits [sum of lengths, V] of branches from one prefix, each a prefix of `token_ids`."""
    output = runner.branch(prefix, [0] * len(lengths), [token_ids[:length] for length in lengths])
    return runner.logits_of(output, output.last_hidden_state)


@torch.no_grad()
def batch_logits(
    runner: ModelRunner, token_ids: Sequence[int], lengths: Sequence[int], steps: int, segment_tokens: int
) -> torch.Tensor:
    """Logits [B × steps, V] of prompts of different lengths, all prefixes of `token_ids`, decoded together.

    Each prompt continues with the tokens that follow it in `token_ids`. Rows are ordered by prompt, then by step.
    """
    cache = runner.new_cache(slots=len(lengths), max_tokens=max(lengths) + steps)
    for slot, length in enumerate(lengths):
        cache.reset(slot)
        runner.prefill(cache, slot, token_ids[:length], segment_tokens)
    found_SBV = []
    for step in range(steps):
        id_B1 = torch.tensor([[token_ids[length + step]] for length in lengths], device=runner.device)
        found_SBV.append(runner.decode(cache, id_B1, max(cache.lengths) + 1))
    return torch.stack(found_SBV, dim=1).flatten(0, 1)


@torch.no_grad()
def neighbours_logits(
    runner: ModelRunner, slots: int, token_ids: Sequence[int], others: Sequence[Sequence[int]], *, slot: int
) -> torch.Tensor:
    """Logits [V] of the last token, decoded in `slot` in a step over all slots, the others holding other sequences."""
    cache = runner.new_cache(slots=slots, max_tokens=DECODE_PLACES)
    prompts = [*others[:slot], token_ids, *others[slot:]]
    for place, prompt in enumerate(prompts):
        runner.prefill(cache, place, prompt[:-1], len(prompt))
    id_B1 = torch.tensor([[prompt[-1]] for prompt in prompts], device=runner.device)
    return runner.decode(cache, id_B1, DECODE_PLACES)[slot]


@torch.no_grad()
def _prefill(runner: ModelRunner, cache: SlottedCache, token_ids: Sequence[int], segment_tokens: int) -> Trace:
    recorder = LayerRecorder(runner.model, len(token_ids))
    with recorder.recording():
        logits = [
            recorder.kept(runner.logits(output, 0, output.last_hidden_state.shape[1]))
            for output in runner.segments(cache, 0, token_ids, segment_tokens)
        ]
    return recorder.trace(torch.cat(logits))
