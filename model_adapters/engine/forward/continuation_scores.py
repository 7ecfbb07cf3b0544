"""Scores of what could follow a text, many texts and continuations in one pass over a context that they share.

Nothing is written to the context.

Shape suffixes: P positions looked at, D model width, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch

from evalkit.errors import RequestFailedError
from evalkit.records import ContinuationScore, Request
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.token_scores import NOT_FINITE, block_positions, score_tokens
from model_adapters.engine.memory.context import Context

LEAST_TEXT_TOKENS = 64
"""What a shorter text counts for: linear-attention layers work in chunks of about this size."""
CPU_REPEATED_TOKENS, GPU_REPEATED_TOKENS = 256, 4096
"""What a pass of its own costs, in tokens that other passes could have read in that time."""
END_OF_CONTEXT = (-1, -1)

TokenIds = tuple[int, ...]
Scores = tuple[ContinuationScore, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A text that goes on from a context, and what could follow it."""

    text: TokenIds
    continuations: tuple[TokenIds, ...]

    @classmethod
    def of(cls, request: Request, context_tokens: int) -> "Branch":
        """What a request asks of a context that holds its first tokens."""
        return cls(request.token_ids[context_tokens:], request.continuations)

    @property
    def rows(self) -> list[TokenIds]:
        """What has to be read: the text with each longer continuation, whose last token predicts nothing.

        Continuations of one token need the text alone, with which any of these rows begins.
        """
        longer = [self.text + continuation[:-1] for continuation in self.continuations if len(continuation) > 1]
        return longer or ([self.text] if self.text else [])

    @property
    def row_tokens(self) -> int:
        """Tokens of the longest row."""
        return max(map(len, self.rows), default=0)

    @property
    def repeated_tokens(self) -> int:
        """Tokens that rows have in common and are read once for each but the first."""
        return len(self.text) * max(0, len(self.rows) - 1)


def passes(branches: Sequence[Branch], budget_tokens: int) -> Iterator[list[int]]:
    """Indices of the branches that go through one pass each, of like length so that little is padded.

    A pass has at most `budget_tokens` tokens, padding included, or one branch.
    """
    batch: list[int] = []
    rows = 0
    for index in sorted(range(len(branches)), key=lambda index: branches[index].row_tokens):
        branch = branches[index]
        if batch and _pass_tokens(rows + len(branch.rows), branch.row_tokens) > budget_tokens:
            yield batch
            batch, rows = [], 0
        batch.append(index)
        rows += len(branch.rows)
    if batch:
        yield batch


def pays_alone(branch: Branch, budget_tokens: int, *, on_gpu: bool) -> bool:
    """Whether to read a branch's text into a slot first, for all its continuations.

    So it is where a pass would be too large, or would read more of the text again than a pass of its own costs.
    """
    worth = GPU_REPEATED_TOKENS if on_gpu else CPU_REPEATED_TOKENS
    return branch.repeated_tokens > worth or _pass_tokens(len(branch.rows), branch.row_tokens) > budget_tokens


def _pass_tokens(rows: int, row_tokens: int) -> int:
    """What a pass over rows of at most `row_tokens` tokens costs, in tokens, with its padding."""
    return rows * max(row_tokens, LEAST_TEXT_TOKENS)


@torch.no_grad()
def score_branches(runner: ModelRunner, context: Context, branches: Sequence[Branch]) -> list[Scores | None]:
    """The continuations' scores for each branch, by one pass; None for a branch where one is not finite."""
    rows = [row for branch in branches for row in branch.rows]
    asked = _Asked()
    first_row = 0
    for branch in branches:
        asked.add(branch, first_row)
        first_row += len(branch.rows)
    values, hits = _look_up(runner, context, rows, asked)
    found: list[Scores | None] = []
    at = 0
    for branch in branches:
        scores = []
        for continuation in branch.continuations:
            part = slice(at, at + len(continuation))
            scores.append(ContinuationScore(math.fsum(values[part]), all(hits[part])))
            at += len(continuation)
        found.append(tuple(scores) if all(math.isfinite(one.log_probability) for one in scores) else None)
    return found


def score_after(
    runner: ModelRunner, context: Context, continuations: Sequence[TokenIds], *, budget_tokens: int
) -> Scores:
    """The scores of continuations of a context whose slot may be written to; it is as before afterwards.

    One that is longer than a pass goes through the slot in segments, all others branch off in passes. Raises
    RequestFailedError where a score is not finite.
    """
    branches = [Branch((), (continuation,)) for continuation in continuations]
    scores: dict[int, ContinuationScore] = {}
    short = [index for index, branch in enumerate(branches) if branch.row_tokens <= budget_tokens]
    for batch in passes([branches[index] for index in short], budget_tokens):
        indices = [short[index] for index in batch]
        found = score_branches(runner, context, [branches[index] for index in indices])
        for index, one in zip(indices, found, strict=True):
            if one is None:
                raise RequestFailedError(NOT_FINITE)
            (scores[index],) = one
    for index, continuation in enumerate(continuations):
        if index not in scores:
            scores[index] = _through_slot(runner, context, continuation, budget_tokens)
    return tuple(scores[index] for index in range(len(branches)))


@dataclass(slots=True)
class _Asked:
    """Positions whose logits are needed, each once, and the tokens to be looked up in them."""

    places: dict[tuple[int, int], int] = field(default_factory=dict)
    """Row and its token, or END_OF_CONTEXT -> place among all positions."""
    place: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)

    def add(self, branch: Branch, first_row: int) -> None:
        """All tokens of all continuations of a branch, in order."""
        row = first_row
        for continuation in branch.continuations:
            long = len(continuation) > 1
            for offset, token_id in enumerate(continuation):
                before = len(branch.text) + offset - 1
                position = END_OF_CONTEXT if before < 0 else (row if long else first_row, before)
                self.place.append(self.places.setdefault(position, len(self.places)))
                self.target.append(token_id)
            row += long


def _look_up(
    runner: ModelRunner, context: Context, rows: Sequence[TokenIds], asked: _Asked
) -> tuple[list[float], list[bool]]:
    """Nats of each token asked for and whether it is the most probable one, a block of positions at a time."""
    output = context.last
    if rows:
        output = runner.branch(context.cache, context.slot, rows)
    firsts = [0, *accumulate(map(len, rows))]
    place_P = torch.tensor([max(0, firsts[row] + token) for row, token in asked.places], device=runner.device)
    hidden_PD = output.last_hidden_state[0, place_P]
    if END_OF_CONTEXT in asked.places:
        hidden_PD[asked.places[END_OF_CONTEXT]] = context.last.last_hidden_state[0, 0]
    nats, hits, order = [], [], []
    for first in range(0, len(hidden_PD), block_positions(runner)):
        logits_PV = runner.logits_of(output, hidden_PD[None, first : first + block_positions(runner)])
        inside = [i for i, place in enumerate(asked.place) if first <= place < first + len(logits_PV)]
        place_N = torch.tensor([asked.place[i] - first for i in inside], device=runner.device)
        target_N = torch.tensor([asked.target[i] for i in inside], device=runner.device)
        nats.append(logits_PV[place_N, target_N] - logits_PV.logsumexp(dim=-1)[place_N])
        hits.append(logits_PV.argmax(dim=-1)[place_N] == target_N)
        order += inside
    found = zip(order, torch.cat(nats).tolist(), torch.cat(hits).tolist(), strict=True)
    in_order = sorted(found)
    return [value for _, value, _ in in_order], [hit for _, _, hit in in_order]


def _through_slot(
    runner: ModelRunner, context: Context, continuation: TokenIds, segment_tokens: int
) -> ContinuationScore:
    mark = context.cache.mark(context.slot)
    found = score_tokens(runner, context, continuation, scored_from=0, segment_tokens=segment_tokens)
    context.cache.rewind(context.slot, mark)
    return ContinuationScore(math.fsum(found.log_probabilities), found.is_greedy)
