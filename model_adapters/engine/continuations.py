"""Scores of what could follow a prompt."""

import math

from evalkit.records import ContinuationScore, Request
from model_adapters.engine.model_runner import ModelRunner
from model_adapters.engine.scoring import score_tokens
from model_adapters.engine.slotted_cache import SlottedCache


def score_continuations(
    runner: ModelRunner, cache: SlottedCache, slot: int, request: Request, *, segment_tokens: int
) -> tuple[ContinuationScore, ...]:
    """The request's continuations in their order; raises RequestFailedError where a score is not finite."""
    scores = []
    for continuation in request.continuations:
        cache.reset(slot)
        found = score_tokens(
            runner,
            cache,
            slot,
            (*request.token_ids, *continuation),
            scored_from=len(request.token_ids),
            segment_tokens=segment_tokens,
        )
        scores.append(ContinuationScore(math.fsum(found.log_probabilities), found.is_greedy))
    return tuple(scores)
