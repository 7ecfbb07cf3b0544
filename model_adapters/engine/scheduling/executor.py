"""Run the scheduler's decisions: forward passes over the slots of a room, and the tokens and scores they give."""

import sys
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass

import torch

from evalkit.errors import RequestFailedError
from evalkit.running.activity import Activity, report
from model_adapters.engine.forward.continuation_scores import Branch, score_after, score_branches
from model_adapters.engine.forward.decode_graph import Choices, DecodeSteps
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.stopwatch import Stopwatch
from model_adapters.engine.forward.token_scores import NOT_FINITE, score_tokens
from model_adapters.engine.memory.context import Context
from model_adapters.engine.scheduling.memory_plan import EnginePlan
from model_adapters.engine.scheduling.prefix_store import PrefixStore
from model_adapters.engine.scheduling.room import Room, RoomMaker, room_after
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
from model_adapters.kernels.greedy_choice.choice import greedy_choice


@dataclass(frozen=True, slots=True)
class Picked:
    """The greedy choice for each sequence of a pass, None if its logits are not finite, and the time of the pass."""

    token_ids: list[int | None]
    seconds: float


@dataclass(frozen=True, slots=True)
class Scored:
    """Completed scoring requests."""

    generations: tuple[Generation, ...]


Result = Room | Unread | Picked | UnreadScores | Scored | Failure | None


class Executor:
    """A model with its decode steps and prefix cache."""

    def __init__(self, runner: ModelRunner, rooms: RoomMaker) -> None:
        self.runner, self._rooms = runner, rooms
        self._fixed = rooms.given.fixed
        self.decoder = DecodeSteps(runner, fixed=self._fixed)
        self.prefixes = PrefixStore(runner)
        self._compiles_first = runner.device.type == "cuda"
        self._told = 0
        """Number of plans under which memory ran out, as far as a line has said so."""

    def run(self, work: Work, room: Room | None, *, ran_out: Items[EnginePlan]) -> Result:
        """Run a piece of work and return its result; failures are returned, not raised."""
        if isinstance(work, MakeRoom):
            self.decoder.drop()
            kept_bytes = self.prefixes.nbytes
            made = _attempt(lambda: self._rooms.make(work.sequence, kept_bytes=kept_bytes, ran_out=ran_out))
            if isinstance(made, Room) and len(ran_out) > self._told:
                print(f"evalkit: {room_after(ran_out[-1], made.plan, fixed=self._fixed)}", file=sys.stderr)
                self._told = len(ran_out)
            return made
        if isinstance(work, ReadTokens):
            return _read(work.unread)
        if isinstance(work, ReadScores):
            return attempt(lambda: _read_scores(work.unread))
        if room is None:
            return None
        behind_prefixes = isinstance(work, ScoreBranches) and work.sequences[0].prefix
        if not (behind_prefixes or isinstance(work, Refuse)):
            self._rooms.allocate(room)
        match work:
            case Prefill():
                return attempt(lambda: self._prefill(work, room))
            case Decode():
                return self._decode(work, room)
            case Score():
                return self._score(work, room)
            case ScoreBranches():
                return attempt(lambda: self._score_branches(work, room))
        return None

    def clear(self) -> None:
        """Drop recorded decode steps and cached prefixes, and free their memory."""
        self.decoder.drop()
        self.prefixes.clear()
        if self.runner.device.type == "cuda":
            torch.cuda.empty_cache()

    def _prefill(self, work: Prefill, room: Room) -> Unread:
        if self._compiles_first:
            self._compiles_first = False
            report(Activity("first prompt: kernels are compiled"))
        watch = Stopwatch(self.runner.device)
        slots = range(work.first_slot, work.first_slot + len(work.sequences))
        contexts = [self._begin(one, slot, room) for one, slot in zip(work.sequences, slots, strict=True)]
        rests = [one.request.token_ids[context.tokens :] for one, context in zip(work.sequences, contexts, strict=True)]
        segment_tokens = room.plan.segment_tokens
        if len(rests) > 1 and sum(map(len, rests)) <= room.plan.pass_tokens:
            logits_BV = self.runner.prefill_together(room.cache, work.first_slot, rests)
        else:
            logits_BV = torch.cat(
                [
                    self.runner.prefill(room.cache, context.slot, rest, segment_tokens)
                    if rest
                    else self.runner.logits(context.last, 0, 1)
                    for context, rest in zip(contexts, rests, strict=True)
                ]
            )
        return Unread(work, Choices(greedy_choice(logits_BV), watch))

    def _decode(self, work: Decode, room: Room) -> Unread:
        """Start a decode step; if that fails, the steps before it can still be read."""

        def start() -> Choices:
            if work.follows:
                return self.decoder.start_next()
            return self.decoder.start(room.cache, [sequence.token_ids[-1] for sequence in work.sequences])

        return Unread(work, attempt(start), self.decoder.runs_ahead)

    def _score(self, work: Score, room: Room) -> Scored | Failure:
        sequence, started = work.sequence, time.perf_counter()
        try:
            return attempt(lambda: Scored((self._scored(work, room, started),)))
        except RequestFailedError as error:
            room.cache.erase(work.slot)
            sequence.prefill_seconds += time.perf_counter() - started
            return Scored((sequence.finish("error", str(error)),))

    def _scored(self, work: Score, room: Room, started: float) -> Generation:
        """Score the request's own tokens from `scored_from` on, or its continuations, in its slot."""
        sequence, runner, plan = work.sequence, self.runner, room.plan
        request, context = sequence.request, self._begin(sequence, work.slot, room)
        rest = request.token_ids[context.tokens :]
        if request.scored_from is not None:
            first = request.scored_from - context.tokens
            scores = score_tokens(runner, context, rest, scored_from=first, segment_tokens=plan.segment_tokens)
            sequence.prefill_seconds += time.perf_counter() - started
            return sequence.finish("stop", scores=scores)
        if rest:
            last = runner.read(room.cache, work.slot, rest, plan.segment_tokens)
            context = Context(room.cache, work.slot, last)
        found = score_after(runner, context, request.continuations, budget_tokens=plan.pass_tokens)
        sequence.prefill_seconds += time.perf_counter() - started
        return sequence.finish("stop", continuations=found)

    def _score_branches(self, work: ScoreBranches, room: Room) -> UnreadScores:
        watch, passes = Stopwatch(self.runner.device), []
        for sequences, contexts in self._by_cache(work, room):
            branches = [
                (context, Branch.of(sequence.request, context.tokens))
                for sequence, context in zip(sequences, contexts, strict=True)
            ]
            passes.append((tuple(sequences), score_branches(self.runner, branches)))
        watch.stop()
        return UnreadScores(work, tuple(passes), watch)

    def _by_cache(self, work: ScoreBranches, room: Room) -> Iterable[tuple[list[Sequence], list[Context]]]:
        """The sequences with the contexts that they continue, in lists for each cache that holds some of these."""
        prefixes = [sequence.prefix for sequence in work.sequences if sequence.prefix]
        self.prefixes.read_together(prefixes, pass_tokens=room.plan.pass_tokens, room_bytes=room.plan.prefix_bytes or 0)
        kept = {sequence.prefix: self._kept_prefix(sequence, room) for sequence in work.sequences}
        if None in kept.values():
            room.cache.reset(work.slot)
        by_cache: dict[int, tuple[list[Sequence], list[Context]]] = {}
        for sequence in work.sequences:
            context = kept[sequence.prefix] or Context(room.cache, work.slot)
            sequences, contexts = by_cache.setdefault(id(context.cache), ([], []))
            sequences.append(sequence)
            contexts.append(context)
            if context.tokens:
                self.prefixes.count(context, 1)
        return by_cache.values()

    def _begin(self, sequence: Sequence, slot: int, room: Room) -> Context:
        """Prepare a slot for a request: copy its cached prefix into the slot, or empty it."""
        kept = self._kept_prefix(sequence, room)
        if kept is None:
            room.cache.reset(slot)
            if self._fixed and sequence.prefix:
                # Memory decides whether a prefix is cached, and must not decide where the prompt is divided.
                last = self.runner.read(room.cache, slot, sequence.prefix, room.plan.pass_tokens)
                return Context(room.cache, slot, last)
            return Context(room.cache, slot)
        self.prefixes.count(kept, 1)
        room.cache.adopt(slot, kept.cache, kept.slot)
        return Context(room.cache, slot, kept.last)

    def _kept_prefix(self, sequence: Sequence, room: Room) -> Context | None:
        """The request's shared prefix, read if necessary; None if it has none or memory cannot hold it."""
        if not sequence.prefix:
            return None
        return self.prefixes.context(
            sequence.prefix, segment_tokens=room.plan.pass_tokens, room_bytes=room.plan.prefix_bytes or 0
        )


def _read(unread: Unread) -> Picked | Failure:
    if isinstance(unread.choices, Failure):
        return unread.choices
    choices = unread.choices
    return attempt(lambda: Picked(choices.read(), choices.seconds))


def _read_scores(unread: UnreadScores) -> Scored:
    """Wait for the scores, and finish the requests; those of a pass share its time evenly."""
    unread.watch.wait()
    seconds, generations = unread.watch.seconds() / len(unread.work.sequences), []
    for sequences, branch_scores in unread.passes:
        for sequence, scores in zip(sequences, branch_scores.read(), strict=True):
            sequence.prefill_seconds += seconds
            finished = sequence.finish("error", NOT_FINITE) if scores is None else None
            generations.append(finished or sequence.finish("stop", continuations=scores))
    return Scored(tuple(generations))


def _attempt(make: Callable[[], Room]) -> Room | Failure:
    try:
        return attempt(make)
    except RequestFailedError as error:
        return Failure(str(error), out_of_memory=False)
