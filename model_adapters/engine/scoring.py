"""Log-probabilities of given tokens: the logits of a block of positions at a time, in fp32.

Shape suffixes: T tokens, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from evalkit.errors import RequestFailedError
from model_adapters.engine.model_runner import ModelRunner
from model_adapters.engine.slotted_cache import SlottedCache

LOGITS_BYTES = 96 * 2**20
"""Bound of one block of fp32 logits; with what is made from it, about three times as much is held at once."""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """How probable a model finds tokens of a text, each given all before it."""

    log_probabilities: tuple[float, ...]
    """Nats."""
    is_greedy: bool
    """Whether every scored token is the one that the model finds most probable."""


def score_tokens(
    runner: ModelRunner,
    cache: SlottedCache,
    slot: int,
    token_ids: Sequence[int],
    *,
    scored_from: int,
    segment_tokens: int,
) -> TokenScores:
    """Scores of `token_ids[scored_from:]`, appended with all before them to an empty slot in segments.

    Memory above weights and cache is one segment's activations and a few blocks of logits, whatever the length. Raises
    RequestFailedError where a log-probability is not finite.
    """
    block_tokens = max(1, LOGITS_BYTES // (4 * runner.logit_count))
    id_T = torch.tensor(token_ids, dtype=torch.long, device=runner.device)
    scores, hits = [], []
    start = 0
    # The last token predicts nothing that is asked for.
    for output in runner.segments(cache, slot, token_ids[:-1], segment_tokens):
        tokens = output.last_hidden_state.shape[1]
        for first in range(max(0, scored_from - 1 - start), tokens, block_tokens):
            end = min(first + block_tokens, tokens)
            logits_TV = runner.logits(output, first, end)
            target_T = id_T[start + first + 1 : start + end + 1]
            scores.append(_log_probabilities(logits_TV, target_T))
            hits.append(logits_TV.argmax(dim=-1) == target_T)
        start += tokens
    values = torch.cat(scores).tolist()
    if not all(map(math.isfinite, values)):
        raise RequestFailedError("the log-probabilities are not finite")
    return TokenScores(tuple(values), bool(torch.cat(hits).all()))


def _log_probabilities(logits_TV: torch.Tensor, target_T: torch.Tensor) -> torch.Tensor:
    chosen_T = logits_TV.gather(1, target_T[:, None])[:, 0]
    return chosen_T - torch.logsumexp(logits_TV, dim=-1)
