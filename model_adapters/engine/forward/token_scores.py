"""Log-probabilities of given tokens, computed in fp32 from the logits of one block of positions at a time.

Shape suffixes: T tokens, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evalkit.errors import RequestFailedError
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.context import Context
from model_adapters.engine.memory.transfers import to_device

LOGITS_BYTES = 96 * 2**20
"""Size limit of a block of fp32 logits; about three times as much is allocated at once, with intermediate results."""
NOT_FINITE = "the log-probabilities are not finite"


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Log-probabilities of a text's tokens, each given all tokens before it."""

    log_probabilities: tuple[float, ...]
    """In nats."""
    is_greedy: bool
    """Whether every scored token is the most probable one."""


def block_positions(runner: ModelRunner) -> int:
    """Number of positions whose logits are computed at once."""
    return max(1, LOGITS_BYTES // (4 * runner.logit_count))


def score_tokens(
    runner: ModelRunner, context: Context, token_ids: Sequence[int], *, scored_from: int, segment_tokens: int
) -> TokenScores:
    """Score `token_ids[scored_from:]`, while appending all `token_ids` to the context's slot in segments.

    `scored_from` is at least 1 if the context is empty. Peak memory beyond weights and cache is the activations of one
    segment and a few blocks of logits, whatever the length. Raises RequestFailedError if a log-probability is not
    finite.
    """
    id_T = to_device(torch.tensor(token_ids, dtype=torch.long), runner.device)
    scores, hits = [], []
    for start, output in _outputs(runner, context, token_ids, segment_tokens):
        tokens = output.last_hidden_state.shape[1]
        for first in range(max(0, scored_from - 1 - start), tokens, block_positions(runner)):
            end = min(first + block_positions(runner), tokens)
            logits_TV = runner.logits(output, first, end)
            target_T = id_T[start + first + 1 : start + end + 1]
            scores.append(_log_probabilities(logits_TV, target_T))
            hits.append(logits_TV.argmax(dim=-1) == target_T)
    values = torch.cat(scores).tolist()
    if not all(map(math.isfinite, values)):
        raise RequestFailedError(NOT_FINITE)
    return TokenScores(tuple(values), bool(torch.cat(hits).all()))


def _log_probabilities(logits_TV: torch.Tensor, target_T: torch.Tensor) -> torch.Tensor:
    chosen_T = logits_TV.gather(1, target_T[:, None])[:, 0]
    return chosen_T - torch.logsumexp(logits_TV, dim=-1)


def _outputs(
    runner: ModelRunner, context: Context, token_ids: Sequence[int], segment_tokens: int
) -> Iterator[tuple[int, Any]]:
    """Yield the index of each part's first token and the decoder's output for it, without the last token."""
    if context.last is not None:
        yield -1, context.last
    start = 0
    for output in runner.segments(context.cache, context.slot, token_ids[:-1], segment_tokens, unread_tokens=1):
        yield start, output
        start += output.last_hidden_state.shape[1]
