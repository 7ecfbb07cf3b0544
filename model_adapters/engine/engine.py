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
from evalkit.records import ContinuationScore, Request
from model_adapters.engine.continuations import score_continuations
from model_adapters.engine.decode_graph import Decoder, pick_tokens, rounded_length
from model_adapters.engine.failures import within_memory
from model_adapters.engine.memory_plan import EnginePlan, choose_plan
from model_adapters.engine.model_runner import ModelRunner
from model_adapters.engine.position_limit import position_limit
from model_adapters.engine.refusal import refusal
from model_adapters.engine.scoring import TokenScores, score_tokens
from model_adapters.engine.sequence import Generation, Sequence
from model_adapters.engine.slotted_cache import SlottedCache


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
        self.decoder = Decoder(self.runner)
        self.stop_ids = stop_ids(model)
        self.plan: EnginePlan | None = None
        """None until the first request tells how long sequences are."""
        self.cache: SlottedCache | None = None
        self._segment_tokens, self._slots, self._max_tokens = segment_tokens, slots, max_tokens
        self._position_limit = position_limit(model.config)
        self._vocabulary: int = next(model.get_input_embeddings().parameters()).shape[0]
        self._active: list[Sequence] = []
        # Sequence i stands in slot i: active slots are always the first ones, so a decode step is a slice.
        self._waiting: deque[Sequence] = deque()
        self._stale = False
        # True once memory ran out: the cache serves its active sequences and is then replaced by a smaller one.

    def generate(self, requests: Iterable[Request]) -> Iterator[Generation]:
        """Answer every request once, in any order; the next is pulled only when a slot is free for it.

        A request that fails (out of memory twice, NaN logits, too long) gives a Generation with an error.
        """
        self._active.clear()
        self._waiting.clear()
        stream = iter(requests)
        while True:
            yield from self._admit(stream)
            if not self._active:
                return
            yield from self._decode_step()

    def _admit(self, stream: Iterator[Request]) -> Iterator[Generation]:
        """Prefill waiting requests while slots are free."""
        if self._active and self._waiting and not self._fits(self._waiting[0]):
            return  # for a larger cache, once the sequences in this one have ended
        while (sequence := self._next(stream)) is not None:
            refused = refusal(
                sequence,
                vocabulary=self._vocabulary,
                max_tokens=self._max_tokens,
                position_limit=self._position_limit,
            )
            if refused is not None:
                yield sequence.finish("error", refused)
            elif self._fits(sequence):
                yield from self._score(sequence) if sequence.is_scored else self._prefill(sequence)
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

    def _fits(self, sequence: Sequence) -> bool:
        """Whether the present cache serves the request; one four times too long is given up for more slots."""
        if self.plan is None or self._stale:
            return False
        too_large = not self._active and sequence.need_tokens * 4 <= self.plan.max_tokens
        return sequence.need_tokens <= self.plan.max_tokens and not too_large

    def _make_room(self, sequence: Sequence) -> Iterator[Generation]:
        """Plan and make a cache for the request, and let it wait for its turn; or fail it."""
        self._drop_cache()
        try:
            self.plan = choose_plan(
                self.runner.model,
                rounded_length(sequence.need_tokens),
                segment_tokens=self._segment_tokens,
                slots=self._slots,
            )
        except RequestFailedError as error:
            yield sequence.finish("error", str(error))
            return
        self.cache = SlottedCache(
            self.runner.model.config,
            slots=self.plan.slots,
            max_tokens=self.plan.max_tokens,
            device=self.runner.device,
        )
        self._waiting.appendleft(sequence)

    def _room(self) -> tuple[SlottedCache, EnginePlan]:
        """The cache that active sequences stand in, with its plan."""
        if self.cache is None or self.plan is None:
            raise RuntimeError("no request has been admitted yet")
        return self.cache, self.plan

    def _drop_cache(self) -> None:
        self.decoder.drop()
        self.plan, self.cache, self._stale = None, None, False
        if self.runner.device.type == "cuda":
            torch.cuda.empty_cache()

    def _prefill(self, sequence: Sequence) -> Iterator[Generation]:
        """Run a prompt into the next free slot; its first token decides whether it stays."""
        (cache, plan), slot = self._room(), len(self._active)
        cache.reset(slot)
        started = time.perf_counter()
        picked = within_memory(
            lambda: pick_tokens(
                self.runner.prefill(cache, slot, sequence.request.token_ids, plan.segment_tokens),
            )
        )
        sequence.prefill_seconds = time.perf_counter() - started
        if picked is None:
            yield from self._out_of_memory([sequence])
            return
        self._active.append(sequence)
        yield from self._take({slot: picked[0]})

    def _score(self, sequence: Sequence) -> Iterator[Generation]:
        """Score a request's own tokens or its continuations in the next free slot, which is free again afterwards."""
        (cache, _), slot, failure = self._room(), len(self._active), None
        cache.reset(slot)
        started = time.perf_counter()
        try:
            scored = within_memory(lambda: self._scored(sequence, slot))
        except RequestFailedError as error:
            scored, failure = None, str(error)
            cache.erase(slot)
        sequence.prefill_seconds = time.perf_counter() - started
        if failure is not None:
            yield sequence.finish("error", failure)
        elif scored is None:
            yield from self._out_of_memory([sequence])
        else:
            scores, continuations = scored
            yield sequence.finish("stop", scores=scores, continuations=continuations)

    def _scored(self, sequence: Sequence, slot: int) -> tuple[TokenScores | None, tuple[ContinuationScore, ...] | None]:
        (cache, plan), request = self._room(), sequence.request
        if request.scored_from is None:
            return None, score_continuations(self.runner, cache, slot, request, segment_tokens=plan.segment_tokens)
        scores = score_tokens(
            self.runner,
            cache,
            slot,
            request.token_ids,
            scored_from=request.scored_from,
            segment_tokens=plan.segment_tokens,
        )
        return scores, None

    def _decode_step(self) -> Iterator[Generation]:
        """One token for every active sequence."""
        cache, _ = self._room()
        started = time.perf_counter()
        newest = [sequence.token_ids[-1] for sequence in self._active]
        picked = within_memory(lambda: self.decoder.step(cache, newest))
        if picked is None:
            failed, self._active = self._active, []
            yield from self._out_of_memory(failed)
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

    def _out_of_memory(self, failed: list[Sequence]) -> Iterator[Generation]:
        """Retry once with half the segment and half the slots; a sequence that fails again is an error.

        Sequences that were not at fault run on; the smaller cache is made after them.
        """
        _, plan = self._room()
        for sequence in failed:
            if sequence.attempts:
                yield sequence.finish("error", f"out of memory, also with segments of {plan.segment_tokens:,} tokens")
                continue
            sequence.restart()
            self._waiting.append(sequence)
            # The smaller plan stays for the rest of the run: what comes next is likely to be as large.
            self._segment_tokens, self._slots = max(1, plan.segment_tokens // 2), max(1, plan.slots // 2)
            self._stale = True


def stop_ids(model: PreTrainedModel) -> frozenset[int]:
    """The end-of-sequence ids of the generation configuration, else of the model's; perhaps none."""
    for config in (model.generation_config, model.config):
        stated = getattr(config, "eos_token_id", None)
        if stated is not None:
            return frozenset(stated if isinstance(stated, list | tuple) else [stated])
    return frozenset()
