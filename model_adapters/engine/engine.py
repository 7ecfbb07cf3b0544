"""Continuous batching: prompts are prefilled into free slots, short ones in one pass, and decoded together.

engine = Engine(model)
for generation in engine.generate(requests): ...
"""

from collections.abc import Iterable, Iterator
from functools import partial

from transformers import PreTrainedModel

from evalkit.records import Request
from evalkit.running.protocols import Tokenizer
from model_adapters.engine.forward.activations import needs_of
from model_adapters.engine.forward.decode_graph import DecodeSteps
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.scheduling.executor import Executor
from model_adapters.engine.scheduling.fixed_shapes import GPU_SEGMENT_TOKENS, fix_shapes
from model_adapters.engine.scheduling.memory_plan import EnginePlan, GivenSizes
from model_adapters.engine.scheduling.position_limit import position_limit
from model_adapters.engine.scheduling.prefix_store import PrefixStore
from model_adapters.engine.scheduling.refusal import refusal
from model_adapters.engine.scheduling.room import RoomMaker
from model_adapters.engine.scheduling.scheduler import Rules, Scheduler
from model_adapters.engine.scheduling.sequence import Generation, take


class Engine:
    """Greedy generation with one model.

    `segment_tokens` and `slots` default to what fits the device's memory. `max_tokens` limits the prompt plus the
    new tokens. Requests with stop strings or thinking need a `tokenizer`. With `batch_invariant`, answers depend on
    neither the other requests nor their order. Raises UsageError for a model that the engine cannot run.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        segment_tokens: int | None = None,
        slots: int | None = None,
        max_tokens: int | None = None,
        tokenizer: Tokenizer | None = None,
        batch_invariant: bool = False,
    ) -> None:
        self.runner = ModelRunner(model)
        on_gpu = self.runner.device.type == "cuda"
        self.shapes = (
            fix_shapes(model, self.runner.layout, segment_tokens, slots, on_gpu=on_gpu) if batch_invariant else None
        )
        """The shapes of all passes; None if they follow from the requests and from memory."""
        given = GivenSizes(segment_tokens, slots)
        if self.shapes is not None:
            given = GivenSizes.of(self.shapes)
        limit = position_limit(model)
        longest = None if limit is None else limit.tokens
        needs = needs_of(self.runner, given.segment_tokens or GPU_SEGMENT_TOKENS, longest)
        self.executor = Executor(self.runner, RoomMaker(self.runner, needs, given))
        self.stop_ids = stop_ids(model)
        self.reads_late = self.runner.device.type == "cuda"
        vocabulary = next(model.get_input_embeddings().parameters()).shape[0]
        self._refusal = partial(
            refusal,
            vocabulary=vocabulary,
            max_tokens=max_tokens,
            position_limit=limit,
            has_tokenizer=tokenizer is not None,
        )
        self._tokenizer = tokenizer
        self._scheduler = self._schedule(iter(()), None)

    def generate(self, requests: Iterable[Request]) -> Iterator[Generation]:
        """Answer every request once, in any order; the next request is pulled only when a slot is free for it.

        A request that fails (out of memory twice, NaN logits, too long, or any other error) yields a Generation with
        `error` set.
        """
        self._scheduler = scheduler = self._schedule(iter(requests), self._scheduler)
        while (work := scheduler.next()) is not None:
            yield from scheduler.apply(work, self.executor.run(work, scheduler.room, ran_out=scheduler.ran_out))

    def close(self) -> None:
        """Free the cache and the cached prefixes; the next request allocates new ones."""
        self._scheduler = self._schedule(iter(()), None)
        self.executor.clear()

    @property
    def plan(self) -> EnginePlan | None:
        """The memory plan; None until the first request shows how long sequences are."""
        return None if self._scheduler.room is None else self._scheduler.room.plan

    @property
    def cache(self) -> SlottedCache | None:
        """The slotted cache of the active sequences."""
        return None if self._scheduler.room is None else self._scheduler.room.cache

    @property
    def decoder(self) -> DecodeSteps:
        """The runner of decode steps."""
        return self.executor.decoder

    @property
    def prefixes(self) -> PrefixStore:
        """The prefix cache."""
        return self.executor.prefixes

    def _schedule(self, stream: Iterator[Request], before: Scheduler | None) -> Scheduler:
        """Create a scheduler for a stream of requests that reuses the previous scheduler's room."""
        on_gpu = self.runner.device.type == "cuda"
        taken = partial(take, stop_ids=self.stop_ids, tokenizer=self._tokenizer)
        rules = Rules(
            self._refusal, taken, on_gpu=on_gpu, reads_late=self.reads_late, fixed_shapes=self.shapes is not None
        )
        if before is None:
            return Scheduler(stream, rules, self.prefixes)
        return Scheduler(stream, rules, self.prefixes, before.room, before.ran_out)


def stop_ids(model: PreTrainedModel) -> frozenset[int]:
    """The end-of-sequence ids of the generation configuration, or of the model's configuration if it has none."""
    for config in (model.generation_config, model.config):
        stated = getattr(config, "eos_token_id", None)
        if stated is not None:
            return frozenset(stated if isinstance(stated, list | tuple) else [stated])
    return frozenset()
