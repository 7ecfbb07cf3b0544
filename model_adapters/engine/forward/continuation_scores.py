"""Score possible continuations of texts, with many texts and continuations in one pass over the contexts they share.

Contexts are not modified.

Shape suffixes: P positions looked at, N tokens looked up there, D model width, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import NamedTuple

import torch

from evalkit.errors import RequestFailedError
from evalkit.records import ContinuationScore, Request
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.stopwatch import Stopwatch
from model_adapters.engine.forward.token_scores import NOT_FINITE, block_positions, score_tokens
from model_adapters.engine.memory.context import Context
from model_adapters.engine.memory.transfers import to_device, to_host

LEAST_TEXT_TOKENS = 64
"""Minimum number of tokens a text counts for: linear-attention layers process chunks of about this size."""
CPU_REPEATED_TOKENS, GPU_REPEATED_TOKENS = 256, 4096
"""Cost of a separate pass, as the number of tokens that other passes could read in the same time."""

TokenIds = tuple[int, ...]
Scores = tuple[ContinuationScore, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A text that continues a context, and its possible continuations."""

    text: TokenIds
    continuations: tuple[TokenIds, ...]

    @classmethod
    def of(cls, request: Request, context_tokens: int) -> "Branch":
        """Make the branch of a request whose first `context_tokens` tokens are in a context."""
        return cls(request.token_ids[context_tokens:], request.continuations)

    @property
    def rows(self) -> list[TokenIds]:
        """The token rows to read: the text plus each continuation longer than one token, without its last token.

        Continuations of one token need only the text, which is a prefix of every row.
        """
        longer = [self.text + continuation[:-1] for continuation in self.continuations if len(continuation) > 1]
        return longer or ([self.text] if self.text else [])

    @property
    def row_tokens(self) -> int:
        """Number of tokens in the longest row."""
        return max(map(len, self.rows), default=0)

    @property
    def repeated_tokens(self) -> int:
        """Number of tokens that are read again because rows share them."""
        return len(self.text) * max(0, len(self.rows) - 1)


def passes(branches: Sequence[Branch], budget_tokens: int) -> Iterator[list[int]]:
    """Group branches into passes, as lists of indices; branches of a pass have similar lengths to limit padding.

    A pass has at most `budget_tokens` tokens, padding included, or a single branch.
    """
    batch: list[int] = []
    rows = 0
    for index in sorted(range(len(branches)), key=lambda index: branches[index].row_tokens):
        branch = branches[index]
        if batch and pass_tokens(rows + len(branch.rows), branch.row_tokens) > budget_tokens:
            yield batch
            batch, rows = [], 0
        batch.append(index)
        rows += len(branch.rows)
    if batch:
        yield batch


def pays_alone(branch: Branch, budget_tokens: int, *, on_gpu: bool) -> bool:
    """Whether it is faster to read a branch's text into a slot first, and then all its continuations.

    That is the case if a single pass would be too large, or would repeat more tokens than a separate pass costs.
    """
    worth = GPU_REPEATED_TOKENS if on_gpu else CPU_REPEATED_TOKENS
    return branch.repeated_tokens > worth or pass_tokens(len(branch.rows), branch.row_tokens) > budget_tokens


def pass_tokens(rows: int, row_tokens: int) -> int:
    """Cost in tokens, padding included, of a pass over `rows` rows of at most `row_tokens` tokens."""
    return rows * max(row_tokens, LEAST_TEXT_TOKENS)


class BranchScores:
    """The scores of a pass over branches, on their way from the device to the host.

    They keep no context, so that a cached prefix can be evicted before they are read.
    """

    def __init__(self, branches: Sequence[Branch], found: "_Found", watch: Stopwatch) -> None:
        self._continuations = [branch.continuations for branch in branches]
        self._order, self._nats_N, self._hits_N = found.order, to_host(found.nats_N), to_host(found.hits_N)
        self._watch = watch
        watch.stop()

    def read(self) -> list[Scores | None]:
        """Wait for the scores of each branch; None for a branch with a score that is not finite."""
        self._watch.wait()
        in_order = sorted(zip(self._order, self._nats_N.tolist(), self._hits_N.tolist(), strict=True))
        tokens = iter(in_order)
        found: list[Scores | None] = []
        for continuations in self._continuations:
            scores = []
            for continuation in continuations:
                _, nats, hits = zip(*islice(tokens, len(continuation)), strict=True)
                scores.append(ContinuationScore(math.fsum(nats), all(hits)))
            found.append(tuple(scores) if all(math.isfinite(one.log_probability) for one in scores) else None)
        return found


@torch.no_grad()
def score_branches(runner: ModelRunner, branches: Sequence[tuple[Context, Branch]]) -> BranchScores:
    """Score the continuations of each context's branch in one pass, without waiting for the device.

    All contexts are in one cache.
    """
    watch, asked = Stopwatch(runner.device), _Asked()
    for context, branch in branches:
        asked.add(context, branch)
    return BranchScores([branch for _, branch in branches], _look_up(runner, asked), watch)


def score_after(
    runner: ModelRunner, context: Context, continuations: Sequence[TokenIds], *, budget_tokens: int
) -> Scores:
    """Score continuations of a context, temporarily writing to its slot.

    A continuation longer than a pass is read through the slot in segments; all others are read as branches. Raises
    RequestFailedError if a score is not finite.
    """
    branches = [Branch((), (continuation,)) for continuation in continuations]
    scores: dict[int, ContinuationScore] = {}
    short = [index for index, branch in enumerate(branches) if branch.row_tokens <= budget_tokens]
    for batch in passes([branches[index] for index in short], budget_tokens):
        indices = [short[index] for index in batch]
        found = score_branches(runner, [(context, branches[index]) for index in indices])
        for index, one in zip(indices, found.read(), strict=True):
            if one is None:
                raise RequestFailedError(NOT_FINITE)
            (scores[index],) = one
    for index, continuation in enumerate(continuations):
        if index not in scores:
            scores[index] = _through_slot(runner, context, continuation, budget_tokens)
    return tuple(scores[index] for index in range(len(branches)))


@dataclass(slots=True)
class _Asked:
    """Positions whose logits are needed, without duplicates, and the tokens to look up there."""

    contexts: list[Context] = field(default_factory=list)
    """The context of each row."""
    rows: list[TokenIds] = field(default_factory=list)
    ends: dict[int, Context] = field(default_factory=dict)
    """Slot -> context, for contexts whose own last position is among those needed."""
    places: dict[tuple[int | None, int], int] = field(default_factory=dict)
    """(row, token index), or (None, slot) for the end of a context -> index among all positions."""
    place: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)

    def add(self, context: Context, branch: Branch) -> None:
        """Add all tokens of a branch's continuations, in order."""
        row = first_row = len(self.rows)
        self.rows += branch.rows
        self.contexts += [context] * len(branch.rows)
        for continuation in branch.continuations:
            long = len(continuation) > 1
            for offset, token_id in enumerate(continuation):
                before = len(branch.text) + offset - 1
                if before < 0:
                    self.ends[context.slot] = context
                position = (None, context.slot) if before < 0 else (row if long else first_row, before)
                self.place.append(self.places.setdefault(position, len(self.places)))
                self.target.append(token_id)
            row += long


class _Found(NamedTuple):
    """What was looked up for N tokens, on the device."""

    order: list[int]
    """Index of each among the tokens asked for."""
    nats_N: torch.Tensor
    """Log-probabilities."""
    hits_N: torch.Tensor
    """Whether each is the most probable token."""


def _look_up(runner: ModelRunner, asked: _Asked) -> _Found:
    """Compute the scores of all tokens, block by block."""
    if asked.rows:
        output = runner.branch(asked.contexts[0].cache, [context.slot for context in asked.contexts], asked.rows)
    else:
        output = next(iter(asked.ends.values())).last
    firsts = [0, *accumulate(map(len, asked.rows))]
    places = [0 if row is None else firsts[row] + token for row, token in asked.places]
    hidden_PD = output.last_hidden_state[0, to_device(torch.tensor(places), runner.device)]
    for slot, context in asked.ends.items():
        hidden_PD[asked.places[None, slot]] = context.last.last_hidden_state[0, 0]
    nats, hits, order = [], [], []
    for first in range(0, len(hidden_PD), block_positions(runner)):
        logits_PV = runner.logits_of(output, hidden_PD[None, first : first + block_positions(runner)])
        inside = [i for i, place in enumerate(asked.place) if first <= place < first + len(logits_PV)]
        place_N = to_device(torch.tensor([asked.place[i] - first for i in inside]), runner.device)
        target_N = to_device(torch.tensor([asked.target[i] for i in inside]), runner.device)
        nats.append(logits_PV[place_N, target_N] - logits_PV.logsumexp(dim=-1)[place_N])
        hits.append(logits_PV.argmax(dim=-1)[place_N] == target_N)
        order += inside
    return _Found(order, torch.cat(nats), torch.cat(hits))


def _through_slot(
    runner: ModelRunner, context: Context, continuation: TokenIds, segment_tokens: int
) -> ContinuationScore:
    mark = context.cache.mark(context.slot)
    found = score_tokens(runner, context, continuation, scored_from=0, segment_tokens=segment_tokens)
    context.cache.rewind(context.slot, mark)
    return ContinuationScore(math.fsum(found.log_probabilities), found.is_greedy)
