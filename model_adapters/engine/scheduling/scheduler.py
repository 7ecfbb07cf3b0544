"""Continuous batching: decide which requests run next in the slots of a room, and apply the results.

scheduler = Scheduler(requests, …)
while (work := scheduler.next()) is not None:
    yield from scheduler.apply(work, executor.run(work, …))
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from evalkit.records import Request
from model_adapters.engine.forward.continuation_scores import Branch, TokenIds, pass_tokens, passes, pays_alone
from model_adapters.engine.scheduling.executor import Picked, Result, Scored
from model_adapters.engine.scheduling.memory_plan import EnginePlan
from model_adapters.engine.scheduling.prefix_store import PrefixStore
from model_adapters.engine.scheduling.room import Room
from model_adapters.engine.scheduling.sequence import Generation, Sequence
from model_adapters.engine.scheduling.work import (
    Decode,
    MakeRoom,
    Prefill,
    ReadScores,
    ReadTokens,
    Refuse,
    Score,
    ScoreBranches,
    Unread,
    UnreadScores,
    Work,
)
from model_adapters.failures import Failure, attempt

GATHERED_REQUESTS, GATHERED_PASSES = 64, 8
"""Limits on the requests for continuations, and on their passes, that are gathered and sorted by length at a time."""
SHARED_SLOTS = 16
"""A short prompt waits until one in so many slots is free if first tokens are read late, because the kernels of a pass
take as long to launch as a decode step of many sequences takes to run."""
LEAST_PASS_TOKENS = 1024
"""Tokens of a pass that takes a GPU longer than its launches."""
MOST_NEW_TOKENS = 2048
"""Budget from which on a slot that waits may cost more than launches."""
FIRST_REQUESTS = 16
"""The first limit on requests if passes are read late, doubled each time: making requests takes time, in which a device
should have something to do."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a scheduler needs to know about requests and the device."""

    refusal: Callable[[Sequence], str | None]
    take: Callable[[Sequence, int], bool]
    """Appends a picked token to a sequence, and returns whether it ends the answer, regardless of its budget."""
    on_gpu: bool
    reads_late: bool
    """Whether first tokens are read only after all free slots are filled, and scores after the next pass is started, so
    that a GPU works on one prompt while the next one's kernels are launched."""
    fixed_shapes: bool = False
    """Whether each request is read in passes of its own, and more memory does not mean more slots."""


@dataclass(slots=True)
class Scheduler:
    """The requests of one stream, the active sequences, and their room.

    Sequence i of `active` is in slot i: active slots always come first, so a decode step is a slice.
    """

    stream: Iterator[Request]
    rules: Rules
    prefixes: PrefixStore
    room: Room | None = None
    ran_out: list[EnginePlan] = field(default_factory=list)
    """Plans under which memory ran out."""
    active: list[Sequence] = field(default_factory=list)
    _unread: deque[Unread] = field(default_factory=deque)
    """Passes whose tokens have not been read, in order. They may hold sequences that have ended since."""
    _scoring: deque[UnreadScores] = field(default_factory=deque)
    """Passes whose scores have not been read, in order; only another such pass starts before they are."""
    _waiting: deque[Sequence] = field(default_factory=deque)
    _planned: deque[Score | ScoreBranches] = field(default_factory=deque)
    _gathered: int = 0
    """Limit on the requests that were gathered last."""

    def next(self) -> Work | None:
        """The next piece of work; None when every request has been answered."""
        if len(self._scoring) > (1 if self.rules.reads_late else 0):
            return ReadScores(self._scoring[0])
        if self._planned and not self._room.stale:
            return self._next_planned()
        while self._planned:
            # It needs another room, which is made once the sequences in this one have ended.
            planned = self._planned.popleft()
            self._waiting.extend(planned.sequences if isinstance(planned, ScoreBranches) else (planned.sequence,))
        waits = (self._unread and not self.rules.reads_late) or self._waits_for_slots()
        admitted = None if waits else self._admit()
        if admitted is not None:
            return admitted
        if self._scoring:
            return ReadScores(self._scoring[0])
        if self._runs_ahead():
            return Decode(tuple(self.active), follows=True)
        if self._unread:
            return ReadTokens(self._unread[0])
        return Decode(tuple(self.active)) if self.active else None

    def apply(self, work: Work, result: Result) -> Iterator[Generation]:
        """Record the result of a piece of work, and yield the requests that it completes."""
        match work, result:
            case Refuse(sequence, message), _:
                yield sequence.finish("error", message)
            case MakeRoom(sequence), Room():
                self.room = result
                self._waiting.appendleft(sequence)
            case MakeRoom(sequence), Failure(message):
                yield sequence.finish("error", message)
            case Prefill(sequences), Unread():
                for sequence in sequences:
                    sequence.has_slot = True
                self.active += sequences
                self._unread.append(result)
            case Decode(), Unread():
                self._unread.append(result)
            case ((Prefill(sequences) | ScoreBranches(sequences)), Failure()):
                yield from self._fail(sequences, result)
            case ReadTokens(), Picked():
                yield from self._take(self._unread.popleft(), result)
            case ReadTokens(), Failure():
                yield from self._fail(self._drop_unread(), result)
            case Score(sequence), Failure():
                yield from self._fail((sequence,), result)
            case ScoreBranches(), UnreadScores():
                self._scoring.append(result)
            case ReadScores(UnreadScores(ScoreBranches(sequences))), Failure():
                self._scoring.popleft()
                yield from self._fail(sequences, result)
            case ReadScores(), Scored():
                self._scoring.popleft()
                yield from result.generations
            case Score(), Scored():
                yield from result.generations
            case _:
                raise TypeError(f"{type(result).__name__} is not a result of {type(work).__name__}")

    @property
    def _room(self) -> Room:
        if self.room is None:
            raise RuntimeError("no request has been admitted yet")
        return self.room

    def _admit(self) -> Work | None:
        """The first work for the next request, if a slot is free for it."""
        sequence = self._pull(taken=0)
        if sequence is None:
            return None
        refused = self.rules.refusal(sequence)
        if self._scoring and (refused or not self._fits(sequence) or not self._branches(sequence, self._room.plan)):
            self._waiting.appendleft(sequence)
            return None
        if refused is not None:
            return Refuse(sequence, refused)
        if not self._fits(sequence):
            if not (self.active or self._unread):
                self.room = None  # frees its memory for the next room
                return MakeRoom(sequence)
            self._waiting.appendleft(sequence)
            return None
        if sequence.request.continuations:
            self._planned.extend(self._plan_scores(sequence))
            return self._next_planned()
        if sequence.is_scored:
            return Score(sequence, len(self.active))
        return Prefill(self._together(sequence), len(self.active))

    def _waits_for_slots(self) -> bool:
        """Whether the next prompt waits until more slots are free, so that others share its pass."""
        room, rules = self.room, self.rules
        if room is None or room.stale or not rules.reads_late or rules.fixed_shapes:
            return False
        free = room.plan.slots - len(self.active)
        if not self.active or free >= room.plan.slots // SHARED_SLOTS:
            return False
        sequence = self._pull(taken=0)
        if sequence is None:
            return False
        self._waiting.appendleft(sequence)
        if sequence.is_scored or sequence.need_tokens - len(sequence.request.token_ids) > MOST_NEW_TOKENS:
            return False
        return free * sequence.unread_tokens < LEAST_PASS_TOKENS

    def _next_planned(self) -> Work:
        if self._scoring and isinstance(self._planned[0], Score):
            return ReadScores(self._scoring[0])
        return self._planned.popleft()

    def _pull(self, *, taken: int) -> Sequence | None:
        """The next request, if a slot is free in addition to the active ones and `taken`."""
        if self.room is not None and len(self.active) + taken >= self.room.plan.slots:
            return None
        if self._waiting:
            return self._waiting.popleft()
        request = next(self.stream, None)
        return None if request is None else Sequence(request)

    def _pull_if(self, taken: int, wanted: Callable[[Sequence], bool]) -> Sequence | None:
        """The next request if it is wanted; otherwise it stays in the queue."""
        sequence = self._pull(taken=taken)
        if sequence is None:
            return None
        if self.rules.refusal(sequence) is None and self._fits(sequence) and wanted(sequence):
            return sequence
        self._waiting.appendleft(sequence)
        return None

    def _fits(self, sequence: Sequence) -> bool:
        """Whether the room serves the request; a room four times too long is given up to get more slots."""
        if self.room is None or self.room.stale:
            return False
        plan = self.room.plan
        if sequence.prefix and plan.prefix_bytes is None:
            return False
        if self._branches(sequence, plan):
            return True
        # A scored request takes one slot however many there are, so more slots would gain nothing.
        gains = not (self.active or sequence.is_scored or self.rules.fixed_shapes)
        too_large = gains and sequence.need_tokens * 4 <= plan.max_tokens
        return sequence.need_tokens <= plan.max_tokens and not too_large

    def _branches(self, sequence: Sequence, plan: EnginePlan) -> bool:
        """Whether a request shares a pass with other requests and needs no slot."""
        prefix = sequence.prefix
        if self.rules.fixed_shapes or sequence.alone or not sequence.request.continuations:
            return False
        if self.prefixes.cost_bytes(prefix) > (plan.prefix_bytes or 0):
            return False
        branch = Branch.of(sequence.request, len(prefix))
        return not pays_alone(branch, plan.pass_tokens, on_gpu=self.rules.on_gpu)

    def _together(self, first: Sequence) -> tuple[Sequence, ...]:
        """A prompt, and the prompts directly after it that fit into the same pass and into free slots."""
        budget, gathered = self._room.plan.pass_tokens, [first]
        left = budget - first.unread_tokens

        def wanted(sequence: Sequence) -> bool:
            return not sequence.is_scored and not sequence.alone and 0 < sequence.unread_tokens <= left

        while left > 0 and first.unread_tokens and not (first.alone or self.rules.fixed_shapes):
            sequence = self._pull_if(len(gathered), wanted)
            if sequence is None:
                break
            gathered.append(sequence)
            left -= sequence.unread_tokens
        return tuple(gathered)

    def _plan_scores(self, first: Sequence) -> Iterator[Score | ScoreBranches]:
        """Plan passes over a request for continuations and the ones after it, several per pass if that is faster."""
        plan, slot, gathered, tokens = self._room.plan, len(self.active), [first], 0
        self._gathered = min(2 * self._gathered if self._scoring else FIRST_REQUESTS, GATHERED_REQUESTS)
        most = self._gathered if self.rules.reads_late else GATHERED_REQUESTS

        def wanted(sequence: Sequence) -> bool:
            # The last few behind a prefix would need a pass of their own later, because its cache holds no other.
            follows = sequence.prefix == gathered[-1].prefix
            return bool(sequence.request.continuations) and (len(gathered) < most or follows)

        while tokens < GATHERED_PASSES * plan.pass_tokens:
            if len(gathered) >= (most + most // 4 if gathered[-1].prefix else most):
                break
            tokens += gathered[-1].need_tokens - len(gathered[-1].prefix)
            sequence = self._pull_if(0, wanted)
            if sequence is None:
                break
            gathered.append(sequence)
        by_prefix: dict[TokenIds, list[Sequence]] = {}
        for sequence in gathered:
            by_prefix.setdefault(sequence.prefix, []).append(sequence)
        planned: list[list[Sequence]] = []
        for prefix, sequences in by_prefix.items():
            together = [sequence for sequence in sequences if self._branches(sequence, plan)]
            branches = [Branch.of(sequence.request, len(prefix)) for sequence in together]
            planned += [[together[index] for index in batch] for batch in passes(branches, plan.pass_tokens)]
            yield from (Score(sequence, slot) for sequence in sequences if sequence not in together)
        for batch in joined_passes(planned, plan, self.prefixes.cost_bytes):
            yield ScoreBranches(tuple(batch), slot)

    def _runs_ahead(self) -> bool:
        """Whether the step after the only one that has not been read can start, because it will hardly be in vain.

        It is if a sequence ends in the first one by a rule, which is rare; budgets are known.
        """
        if len(self._unread) != 1 or not self._unread[0].runs_ahead:
            return False
        sequences = self._unread[0].work.sequences
        return sequences == tuple(self.active) and all(sequence.runs_ahead for sequence in sequences)

    def _take(self, unread: Unread, picked: Picked) -> Iterator[Generation]:
        """Append the picked tokens to their sequences, and release those that end."""
        unread.share(picked.seconds)
        cache = self._room.cache
        tokens = zip(range(len(picked.token_ids)), unread.work.sequences, picked.token_ids, strict=True)
        for slot, sequence, token_id in reversed(list(tokens)):
            had_slot = sequence.has_slot
            if token_id is None:
                if had_slot:
                    self._release(sequence, erase=True)
                # The pass wrote to the slot that the sequence had then, which may be free or another's by now.
                erase = cache.erase_rest if slot < len(self.active) else cache.erase
                erase(slot)
                if had_slot:
                    reason = f"the logits are not finite after {len(sequence.token_ids)} new tokens"
                    yield sequence.finish("error", reason)
                continue
            if not had_slot:  # it ended in the step before
                continue
            ended = attempt(partial(self.rules.take, sequence, token_id))
            reached = sequence.answer_tokens >= sequence.request.generation_tokens
            if ended or reached:
                self._release(sequence)
                if isinstance(ended, Failure):
                    yield sequence.finish("error", ended.message)
                else:
                    yield sequence.finish("stop" if ended else "length")

    def _drop_unread(self) -> tuple[Sequence, ...]:
        """Give up the passes that have not been read; returns their sequences, released."""
        sequences = {sequence: None for unread in self._unread for sequence in unread.work.sequences}
        dropped = [sequence for sequence in sequences if sequence.has_slot]
        self._unread.clear()
        for sequence in sorted(dropped, key=self.active.index, reverse=True):
            self._release(sequence)
        return tuple(dropped)

    def _release(self, sequence: Sequence, *, erase: bool = False) -> None:
        """Free a sequence's slot and move the last active sequence into it.

        The device does so after the steps that it has been given, whose tokens the cache has counted.
        """
        cache, slot, last = self._room.cache, self.active.index(sequence), self.active.pop()
        if erase:
            cache.erase(slot)
        if last is not sequence:
            cache.move(len(self.active), slot)
            self.active[slot] = last
        sequence.has_slot = False

    def _fail(self, failed: tuple[Sequence, ...], failure: Failure) -> Iterator[Generation]:
        """End sequences with an error, except that a sequence's first lack of memory is retried.

        If a pass over several requests failed for another reason, each that has no token yet is retried alone.
        Sequences that did not fail continue in the room, which admits no new sequence.
        """
        self._room.stale = True
        if failure.out_of_memory and any(not sequence.attempts for sequence in failed):
            self.ran_out.append(self._room.plan)
            self.prefixes.clear()
        message = failure.message
        if failure.out_of_memory:
            message = f"out of memory again with segments of {self._room.plan.segment_tokens:,} tokens"
        for sequence in failed:
            if failure.out_of_memory and not sequence.attempts:
                sequence.restart()
                self._waiting.append(sequence)
            elif len(failed) > 1 and not (failure.out_of_memory or sequence.token_ids):
                sequence.alone = True
                self._waiting.append(sequence)
            else:
                yield sequence.finish("error", message)


def joined_passes(
    planned: Iterable[list[Sequence]], plan: EnginePlan, cost_bytes: Callable[[TokenIds], int]
) -> Iterator[list[Sequence]]:
    """Join passes behind different cached prefixes while they fit into one, and their prefixes into memory together.

    On a GPU a pass of few tokens takes the time to launch its kernels.
    """
    joined: list[Sequence] = []
    tokens = 0
    for batch in planned:
        branches = [Branch.of(sequence.request, len(sequence.prefix)) for sequence in batch]
        more = pass_tokens(sum(len(branch.rows) for branch in branches), max(one.row_tokens for one in branches))
        prefixes = {sequence.prefix for sequence in (*joined, *batch)}
        needed_bytes = len(prefixes) * max(map(cost_bytes, prefixes))
        fits = tokens + more <= plan.pass_tokens and needed_bytes <= (plan.prefix_bytes or 0)
        if joined and not (fits and () not in prefixes):
            yield joined
            joined, tokens = [], 0
        joined = joined + batch
        tokens += more
    if joined:
        yield joined
