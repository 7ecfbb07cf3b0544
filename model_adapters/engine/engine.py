"""Continuous batching: prompts are prefilled one after another into free slots and decoded together.

engine = Engine(model)
for generation in engine.generate(requests): ...
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator

import torch
from transformers import PreTrainedModel

from evalkit.errors import RequestFailedError
from evalkit.records import Request
from model_adapters.engine.forward.continuation_scores import (
    Branch,
    Scores,
    TokenIds,
    passes,
    pays_alone,
    score_after,
    score_branches,
)
from model_adapters.engine.forward.decode_graph import DecodeSteps, greedy_choice, token_choices
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.token_scores import NOT_FINITE, TokenScores, score_tokens
from model_adapters.engine.memory.context import Context
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.scheduling.memory_plan import EnginePlan, choose_plan
from model_adapters.engine.scheduling.position_limit import position_limit
from model_adapters.engine.scheduling.prefix_store import PrefixStore
from model_adapters.engine.scheduling.refusal import refusal
from model_adapters.engine.scheduling.sequence import Generation, Sequence
from model_adapters.engine.scheduling.stopwatch import Stopwatch
from model_adapters.failures import Failure, attempt

GATHERED_REQUESTS, GATHERED_PASSES = 64, 8
"""So many requests for continuations, or passes of them, are gathered and sorted by length."""


class Engine:
    """Greedy generation with one model.

    `segment_tokens` and `slots` are chosen from the device and its memory where not given; `max_tokens` limits prompt
    and generation budget together. Raises UsageError for a model that the engine cannot run.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        segment_tokens: int | None = None,
        slots: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.runner = ModelRunner(model)
        self.decoder = DecodeSteps(self.runner)
        self.stop_ids = stop_ids(model)
        self.plan: EnginePlan | None = None
        """None until the first request tells how long sequences are."""
        self.cache: SlottedCache | None = None
        self._segment_tokens, self._slots, self._max_tokens = segment_tokens, slots, max_tokens
        self.prefixes = PrefixStore(self.runner)
        self._position_limit = position_limit(model)
        self._vocabulary: int = next(model.get_input_embeddings().parameters()).shape[0]
        self._active: list[Sequence] = []
        """Sequence i stands in slot i: active slots are always the first ones, so a decode step is a slice."""
        self._unread: list[tuple[Sequence, Stopwatch, torch.Tensor]] = []
        """The last active sequences, whose first token has not been read yet."""
        self.reads_late = self.runner.device.type == "cuda"
        """Whether first tokens are read once all free slots are filled: while a GPU works on one prompt, the next
        one's launches are queued."""
        self._waiting: deque[Sequence] = deque()
        self._ran_out: list[EnginePlan] = []
        """Plans under which memory ran out."""
        self._stale = False
        """True after a failure: the cache serves its active sequences and is then replaced by another."""

    def generate(self, requests: Iterable[Request]) -> Iterator[Generation]:
        """Answer every request once, in any order; the next is pulled only when a slot is free for it.

        A request that fails (out of memory twice, NaN logits, too long, or by any error) gives a Generation with an
        error.
        """
        self._active.clear()
        self._unread.clear()
        self._waiting.clear()
        stream = iter(requests)
        while True:
            yield from self._admit(stream)
            if not self._active:
                return
            yield from self._decode_step()

    def _admit(self, stream: Iterator[Request]) -> Iterator[Generation]:
        """Prefill waiting requests while slots are free, those too that their first token frees again."""
        while True:
            yield from self._fill(stream)
            if not self._unread:
                return
            yield from self._read_first_tokens()

    def _fill(self, stream: Iterator[Request]) -> Iterator[Generation]:
        """Prefill waiting requests into free slots; their first tokens are left on the device."""
        if self._active and self._waiting and not self._fits(self._waiting[0]):
            return  # for a larger cache, once the sequences in this one have ended
        while (sequence := self._next(stream)) is not None:
            refused = self._refusal(sequence)
            if refused is not None:
                yield sequence.finish("error", refused)
            elif self._fits(sequence):
                yield from self._run(sequence, stream)
            elif self._active:
                self._waiting.appendleft(sequence)
                return
            else:
                yield from self._make_room(sequence)

    def _next(self, stream: Iterator[Request]) -> Sequence | None:
        if self.plan is not None and len(self._active) >= self.plan.slots:
            return None
        if self._waiting:
            return self._waiting.popleft()
        request = next(stream, None)
        return None if request is None else Sequence(request)

    def _run(self, sequence: Sequence, stream: Iterator[Request]) -> Iterator[Generation]:
        """Prefill or score a request that fits, with those after it that go through the same passes."""
        if sequence.request.continuations:
            for sequences in self._gather(sequence, stream):
                yield from self._score_continuations(sequences)
        elif sequence.request.scored_from is not None:
            yield from self._score(sequence)
        else:
            yield from self._prefill(sequence)

    def _refusal(self, sequence: Sequence) -> str | None:
        return refusal(
            sequence, vocabulary=self._vocabulary, max_tokens=self._max_tokens, position_limit=self._position_limit
        )

    def _fits(self, sequence: Sequence) -> bool:
        """Whether the present cache serves the request; one four times too long is given up for more slots."""
        if self.plan is None or self._stale:
            return False
        if sequence.prefix and self.plan.prefix_bytes is None:
            return False
        if self._branches(sequence, self.plan):
            return True
        # A request that is scored takes one slot, however many there are.
        too_large = not self._active and not sequence.is_scored and sequence.need_tokens * 4 <= self.plan.max_tokens
        return sequence.need_tokens <= self.plan.max_tokens and not too_large

    def _branches(self, sequence: Sequence, plan: EnginePlan) -> bool:
        """Whether a request is answered by a pass that it shares with others, and takes no slot."""
        prefix = sequence.prefix
        if not sequence.request.continuations or self.prefixes.cost_bytes(prefix) > (plan.prefix_bytes or 0):
            return False
        branch = Branch.of(sequence.request, len(prefix))
        return not pays_alone(branch, plan.pass_tokens, on_gpu=self.runner.device.type == "cuda")

    def _make_room(self, sequence: Sequence) -> Iterator[Generation]:
        """Plan and make a cache for the request, and let it wait for its turn; or fail it."""
        try:
            failure = attempt(lambda: self._new_cache(sequence))
        except RequestFailedError as error:
            failure = Failure(str(error), out_of_memory=False)
        if failure is None:
            self._waiting.appendleft(sequence)
        else:
            yield sequence.finish("error", failure.message)

    def _new_cache(self, sequence: Sequence) -> None:
        self._drop_cache()
        plan = choose_plan(
            self.runner.needs,
            self.runner.device,
            sequence.need_tokens,
            segment_tokens=self._segment_tokens,
            slots=self._slots,
            kept_bytes=self.prefixes.nbytes if sequence.prefix or self.prefixes.nbytes else None,
            ran_out=self._ran_out,
        )
        self.cache = self.runner.new_cache(slots=plan.slots, max_tokens=plan.max_tokens)
        self.plan = plan

    def _room(self) -> tuple[SlottedCache, EnginePlan]:
        """The cache that active sequences stand in, with its plan."""
        if self.cache is None or self.plan is None:
            raise RuntimeError("no request has been admitted yet")
        return self.cache, self.plan

    def close(self) -> None:
        """Let go of the cache and kept prefixes with their memory; the next request makes new ones."""
        self._active.clear()
        self._unread.clear()
        self.prefixes.clear()
        self._waiting.clear()
        self._drop_cache()

    def _drop_cache(self) -> None:
        self.decoder.drop()
        self.plan, self.cache, self._stale = None, None, False
        if self.runner.device.type == "cuda":
            torch.cuda.empty_cache()

    def _begin(self, sequence: Sequence, slot: int) -> Context:
        """The slot made ready for a request: with the prefix in it that the request shares, or empty."""
        cache, _ = self._room()
        kept = self._kept_prefix(sequence)
        if kept is None:
            cache.reset(slot)
            return Context(cache, slot)
        self.prefixes.count(kept, 1)
        cache.adopt(slot, kept.cache, kept.slot)
        return Context(cache, slot, kept.last)

    def _kept_prefix(self, sequence: Sequence) -> Context | None:
        """The request's shared prefix, read now if need be; None where it has none or memory cannot keep it."""
        _, plan = self._room()
        if not sequence.prefix:
            return None
        return self.prefixes.context(
            sequence.prefix, segment_tokens=plan.pass_tokens, room_bytes=plan.prefix_bytes or 0
        )

    def _prefill(self, sequence: Sequence) -> Iterator[Generation]:
        """Run a prompt into the next free slot; its first token, once it is read, decides whether it stays."""
        slot = len(self._active)

        def first_token() -> tuple[Stopwatch, torch.Tensor]:
            watch = Stopwatch(self.runner.device)
            picked_1 = greedy_choice(self._prompt_logits(sequence, slot))
            watch.stop()
            return watch, picked_1

        found = attempt(first_token)
        if isinstance(found, Failure):
            yield from self._fail([sequence], found)
            return
        self._active.append(sequence)
        self._unread.append((sequence, *found))
        if not self.reads_late:
            yield from self._read_first_tokens()

    def _read_first_tokens(self) -> Iterator[Generation]:
        """Wait for the prompts that were prefilled last and take their first tokens."""
        unread, self._unread = self._unread, []
        first = len(self._active) - len(unread)  # they came last
        picked = attempt(lambda: token_choices(torch.cat([picked_1 for _, _, picked_1 in unread])))
        if isinstance(picked, Failure):
            del self._active[first:]
            yield from self._fail([sequence for sequence, _, _ in unread], picked)
            return
        for sequence, watch, _ in unread:
            sequence.prefill_seconds = watch.seconds()
        yield from self._take({first + place: token_id for place, token_id in enumerate(picked)})

    def _prompt_logits(self, sequence: Sequence, slot: int) -> torch.Tensor:
        (cache, plan), context = self._room(), self._begin(sequence, slot)
        rest = sequence.request.token_ids[context.tokens :]
        if not rest:
            return self.runner.logits(context.last, 0, 1)
        return self.runner.prefill(cache, slot, rest, plan.segment_tokens)

    def _score(self, sequence: Sequence) -> Iterator[Generation]:
        """Score what a request gives in the next free slot, which is free again afterwards."""
        (cache, _), slot = self._room(), len(self._active)
        started = time.perf_counter()
        try:
            scored = attempt(lambda: self._scored(sequence, slot))
        except RequestFailedError as error:
            cache.erase(slot)
            sequence.prefill_seconds += time.perf_counter() - started
            yield sequence.finish("error", str(error))
            return
        sequence.prefill_seconds += time.perf_counter() - started
        if isinstance(scored, Failure):
            yield from self._fail([sequence], scored)
        elif isinstance(scored, TokenScores):
            yield sequence.finish("stop", scores=scored)
        else:
            yield sequence.finish("stop", continuations=scored)

    def _scored(self, sequence: Sequence, slot: int) -> TokenScores | Scores:
        """The request's own tokens from `scored_from` on, or its continuations, by way of a slot of its own."""
        (cache, plan), request = self._room(), sequence.request
        context = self._begin(sequence, slot)
        rest = request.token_ids[context.tokens :]
        if request.scored_from is not None:
            scored_from = request.scored_from - context.tokens
            return score_tokens(self.runner, context, rest, scored_from=scored_from, segment_tokens=plan.segment_tokens)
        if rest:
            context = Context(cache, slot, self.runner.read(cache, slot, rest, plan.segment_tokens))
        return score_after(self.runner, context, request.continuations, budget_tokens=plan.pass_tokens)

    def _gather(self, first: Sequence, stream: Iterator[Request]) -> list[list[Sequence]]:
        """A request for continuations and those right after it, for a few passes, those of one prefix together."""
        (_, plan), gathered, tokens = self._room(), [first], 0
        while len(gathered) < GATHERED_REQUESTS and tokens < GATHERED_PASSES * plan.pass_tokens:
            tokens += gathered[-1].need_tokens - len(gathered[-1].prefix)
            sequence = self._next(stream)
            if sequence is None:
                break
            if not sequence.request.continuations or self._refusal(sequence) or not self._fits(sequence):
                self._waiting.appendleft(sequence)
                break
            gathered.append(sequence)
        by_prefix: dict[TokenIds, list[Sequence]] = {}
        for sequence in gathered:
            by_prefix.setdefault(sequence.prefix, []).append(sequence)
        return list(by_prefix.values())

    def _score_continuations(self, sequences: list[Sequence]) -> Iterator[Generation]:
        """Score the continuations of requests with one prefix, many requests to a pass where that pays."""
        if self._stale:
            self._waiting.extend(sequences)
            return
        (cache, plan), slot = self._room(), len(self._active)
        cache.reset(slot)
        started = time.perf_counter()
        context = attempt(lambda: self._kept_prefix(sequences[0]) or Context(cache, slot))
        sequences[0].prefill_seconds = time.perf_counter() - started
        if isinstance(context, Failure):
            yield from self._fail(sequences, context)
            return
        branches = [Branch.of(sequence.request, context.tokens) for sequence in sequences]
        together = [index for index, sequence in enumerate(sequences) if self._branches(sequence, plan)]
        for batch in passes([branches[index] for index in together], plan.pass_tokens):
            indices = [together[index] for index in batch]
            yield from self._score_pass(context, [sequences[i] for i in indices], [branches[i] for i in indices])
        for index, sequence in enumerate(sequences):
            if index not in together:
                yield from self._score(sequence)

    def _score_pass(self, context: Context, batch: list[Sequence], branches: list[Branch]) -> Iterator[Generation]:
        """Score requests by one pass; after a failure they wait for another cache."""
        if self._stale:
            self._waiting.extend(batch)
            return
        started = time.perf_counter()
        found = attempt(lambda: score_branches(self.runner, context, branches))
        if isinstance(found, Failure):
            yield from self._fail(batch, found)
            return
        if context.tokens:
            self.prefixes.count(context, len(batch))
        seconds = (time.perf_counter() - started) / len(batch)
        for sequence, scores in zip(batch, found, strict=True):
            sequence.prefill_seconds += seconds
            if scores is None:
                yield sequence.finish("error", NOT_FINITE)
            else:
                yield sequence.finish("stop", continuations=scores)

    def _decode_step(self) -> Iterator[Generation]:
        """One token for every active sequence."""
        cache, _ = self._room()
        started = time.perf_counter()
        newest = [sequence.token_ids[-1] for sequence in self._active]
        picked = attempt(lambda: self.decoder.step(cache, newest))
        if isinstance(picked, Failure):
            failed, self._active = self._active, []
            yield from self._fail(failed, picked)
            return
        seconds = (time.perf_counter() - started) / len(self._active)
        for sequence in self._active:
            sequence.decode_seconds += seconds
        yield from self._take(dict(enumerate(picked)))

    def _take(self, picked: dict[int, int | None]) -> Iterator[Generation]:
        """Append the picked tokens (slot -> id, None for NaN logits) and let go of sequences that ended."""
        for slot in sorted(picked, reverse=True):
            sequence, token_id = self._active[slot], picked[slot]
            if token_id is None:
                yield self._release(slot, erase=True).finish(
                    "error", f"the logits are not finite after {len(sequence.token_ids)} new tokens"
                )
                continue
            sequence.token_ids.append(token_id)
            if token_id in self.stop_ids:
                yield self._release(slot).finish("stop")
            elif len(sequence.token_ids) >= sequence.request.generation_tokens:
                yield self._release(slot).finish("length")

    def _release(self, slot: int, *, erase: bool = False) -> Sequence:
        """Free a slot, and let the last active sequence take its place."""
        cache, _ = self._room()
        sequence, last = self._active[slot], len(self._active) - 1
        if erase:
            cache.erase(slot)
        if slot != last:
            cache.move(last, slot)
            self._active[slot] = self._active[last]
        self._active.pop()
        return sequence

    def _fail(self, failed: list[Sequence], failure: Failure) -> Iterator[Generation]:
        """Let sequences end in an error; those under which memory ran out the first time are tried once more.

        Sequences that were not at fault run on in the cache, which no other sequence enters.
        """
        _, plan = self._room()
        self._stale = True
        again = [sequence for sequence in failed if failure.out_of_memory and not sequence.attempts]
        if again:
            self._ran_out.append(plan)
            self.prefixes.clear()
        message = failure.message
        if failure.out_of_memory:
            message = f"out of memory, also with segments of {plan.segment_tokens:,} tokens"
        for sequence in failed:
            if sequence in again:
                sequence.restart()
                self._waiting.append(sequence)
            else:
                yield sequence.finish("error", message)


def stop_ids(model: PreTrainedModel) -> frozenset[int]:
    """The end-of-sequence ids of the generation configuration, else of the model's; perhaps none."""
    for config in (model.generation_config, model.config):
        stated = getattr(config, "eos_token_id", None)
        if stated is not None:
            return frozenset(stated if isinstance(stated, list | tuple) else [stated])
    return frozenset()
