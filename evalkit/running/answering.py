"""Answering of samples: prompts are prepared ahead, the adapter answers them, and the suite judges each answer."""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Generic, Protocol

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import (
    Asked,
    Completion,
    EngineDescription,
    Environment,
    FailureKind,
    MemoryUse,
    ModelIdentity,
    ReplicaUse,
    Request,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    ThoughtEnd,
)
from evalkit.running.environment import describe_environment
from evalkit.running.excerpts import excerpts
from evalkit.running.prefetch import prefetch
from evalkit.running.protocols import Adapter, AskedT, Suite

# Two prompts ahead keep the model busy; at 65,536 tokens each holds about a megabyte. Short ones are batched.
PREPARED_AHEAD = 2
PREPARED_TOKENS_AHEAD = 65_536
SHORT_TOKENS = 1_024
"""Assumed length of a prompt that is as long as its question."""


class Sink(Protocol):
    """What is told of the progress of samples."""

    def sent(self, key: SampleKey) -> None:
        """Called when a sample's prompt is sent to a model, which may have several at once."""
        ...

    def ended(self, record: SampleRecord) -> None:
        """Called once per sample, with the line to store; its session is not set yet."""
        ...


class Answerer(Protocol):
    """What answers the samples of a run: one model in this process, or replicas of it."""

    @property
    def identity(self) -> ModelIdentity: ...

    def answer(self, pending: Sequence[SampleKey], sink: Sink) -> None:
        """Answer every sample and hand its record to `sink`, in any order.

        A sample that fails has a record with an error; an exception loses only samples that have not ended.
        """
        ...

    def describe(self) -> EngineDescription:
        """How the model is run, as far as it is known yet."""
        ...

    def environment(self) -> Environment:
        """Code, libraries and hardware of the model's host."""
        ...

    def memory(self) -> MemoryUse:
        """Peak memory so far; of replicas, that of the one with the highest peak."""
        ...

    def replicas(self) -> tuple[ReplicaUse, ...]:
        """What each replica did so far; empty for a model in this process."""
        ...


class OneModel:
    """An Answerer: one adapter in this process."""

    def __init__(self, suite: Suite[Any], adapter: Adapter) -> None:
        self._suite, self._adapter = suite, adapter

    @property
    def identity(self) -> ModelIdentity:
        return self._adapter.identity

    def answer(self, pending: Sequence[SampleKey], sink: Sink) -> None:
        answer(self._suite, self._adapter, pending, sink, ahead=prepared_ahead(pending))

    def describe(self) -> EngineDescription:
        return self._adapter.describe()

    def environment(self) -> Environment:
        return describe_environment(self.describe().device or "")

    def memory(self) -> MemoryUse:
        return self._adapter.memory()

    def replicas(self) -> tuple[ReplicaUse, ...]:
        return ()


def answer(suite: Suite[AskedT], adapter: Adapter, keys: Iterable[SampleKey], sink: Sink, *, ahead: int) -> None:
    """Answer the samples of `keys`, which are pulled as the adapter has room, with `ahead` prompts prepared.

    Raises RuntimeError if the adapter leaves a request unanswered.
    """
    stream = _RequestStream(suite, sink)
    # Closed in any case, so that an abandoned run leaves no thread behind.
    with closing(stream.requests(keys, ahead)) as requests:
        for completion in adapter.generate(requests):
            answered = stream.take(completion)
            if answered is None:
                continue
            asked, joined = answered
            # A failed request is not judged.
            score = Score(None) if joined.error is not None else suite.judge(asked, joined)
            sink.ended(sample_record(asked, joined, score))
        unanswered = [*stream.unanswered, *(request.id for request in requests)]
    if unanswered:
        raise RuntimeError(f"the adapter left {len(unanswered)} requests unanswered, such as {unanswered[0]}")


def prepared_ahead(keys: Sequence[SampleKey]) -> int:
    """Number of prompts to prepare ahead."""
    longest = max((key.ctx for key in keys), default=0) or SHORT_TOKENS
    return max(PREPARED_AHEAD, PREPARED_TOKENS_AHEAD // longest)


class _RequestStream(Generic[AskedT]):
    """The requests of samples, made while the model works, and the samples in flight.

    Samples that cannot be run end at once.
    """

    def __init__(self, suite: Suite[AskedT], sink: Sink) -> None:
        self._suite, self._sink = suite, sink
        self._in_flight: dict[str, AskedT] = {}
        """By id of each request that is not answered."""
        self._answers: dict[str, Completion] = {}
        """By id of each request of a sample with others that are not answered."""

    @property
    def unanswered(self) -> Iterator[str]:
        return iter(self._in_flight)

    def requests(self, keys: Iterable[SampleKey], ahead: int) -> Generator[Request, None, None]:
        with closing(prefetch(self._prepare, keys, depth=ahead)) as prepared_samples:
            for key, asked, unscored in prepared_samples:
                if asked is None:
                    self._sink.ended(_not_asked(key, unscored))
                    continue
                for request in asked.requests:
                    if request.id in self._in_flight:
                        raise ValueError(f"two requests are called {request.id}")
                    self._in_flight[request.id] = asked
                self._sink.sent(key)
                yield from asked.requests

    def take(self, answer: Completion) -> tuple[AskedT, Completion] | None:
        """The sample with its joined completion once the last of its requests is answered, None before."""
        asked = self._in_flight.pop(answer.request_id)
        self._answers[answer.request_id] = answer
        names = [request.id for request in asked.requests]
        if any(name in self._in_flight for name in names):
            return None
        return asked, Completion.joined(asked.sample.id, [self._answers.pop(name) for name in names])

    def _prepare(self, key: SampleKey) -> tuple[SampleKey, AskedT | None, str]:
        """A sample ready to be sent, or the reason why it cannot be sent."""
        try:
            return key, self._suite.ask(key), ""
        except SampleDoesNotFitError as error:
            return key, None, str(error)


def sample_record(asked: Asked, completion: Completion, score: Score) -> SampleRecord:
    """The line of an answered sample."""
    sample = asked.sample
    return SampleRecord(
        id=sample.id,
        task=sample.key.task,
        ctx=sample.key.ctx,
        index=sample.key.index,
        seed=sample.key.seed,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        prompt_sha256=hashlib.sha256(sample.prompt.encode("utf-8", "surrogatepass")).hexdigest(),
        depths=sample.depths,
        gold_positions=sample.gold_positions,
        targets=sample.targets,
        prediction=completion.text if score.prediction is None else score.prediction,
        finish_reason=completion.finish_reason,
        metric=sample.metric,
        score=score.value,
        failure=_failure(score, completion),
        error=completion.error,
        unscored=None,
        prefill_seconds=completion.prefill_seconds,
        decode_seconds=completion.decode_seconds,
        measures=score.measures,
        positions=score.positions,
        continuations=completion.continuations or (),
        generation_tokens=sample.generation_tokens,
        excerpts=excerpts(sample),
        thought=completion.thought,
        thought_tokens=completion.thought_tokens,
        thought_end=completion.thought_end,
    )


def _failure(score: Score, completion: Completion) -> FailureKind | None:
    """The kind of a failure: of a thought that ended badly, else the suite's."""
    of_thought: dict[ThoughtEnd | None, FailureKind] = {
        "forced": "cut_while_thinking",
        "unclosed": "unclosed_thought",
    }
    return None if score.failure is None else of_thought.get(completion.thought_end, score.failure)


def failed_record(key: SampleKey, error: str) -> SampleRecord:
    """The line of a sample whose prompt was sent and never answered."""
    completion = Completion(key.id, "", 0, 0, "error", None, None, error=error)
    return _without_prompt(key, completion)


def _not_asked(key: SampleKey, reason: str) -> SampleRecord:
    return replace(_without_prompt(key, Completion(key.id, "", 0, 0, "error", 0.0, 0.0)), unscored=reason)


def _without_prompt(key: SampleKey, completion: Completion) -> SampleRecord:
    nothing = Asked(Sample(key, "", "", (), generation_tokens=0, prompt_tokens=0, metric=""), ())
    record = sample_record(nothing, completion, Score(None))
    return replace(record, prompt_sha256="", generation_tokens=None, excerpts=())
