"""The runner: prepare samples ahead, let the adapter answer them, score them, and store each as it ends."""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol

from evalkit.errors import IncompatibleRunError, SampleDoesNotFitError
from evalkit.records import (
    START_SCHEMA,
    Asked,
    Completion,
    FailureKind,
    PreflightCheck,
    Request,
    RunRecord,
    RunStart,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
    ThoughtEnd,
)
from evalkit.running.assembly import assemble, summary_of_part
from evalkit.running.excerpts import excerpts
from evalkit.running.prefetch import prefetch
from evalkit.running.protocols import Adapter, AskedT, Suite
from evalkit.running.session_log import SessionLog
from evalkit.running.shards import cost
from evalkit.running.store import RunStore

# Two prompts ahead keep the model busy; at 65,536 tokens each holds about a megabyte. Short ones are batched.
PREPARED_AHEAD = 2
PREPARED_TOKENS_AHEAD = 65_536
SHORT_TOKENS = 1_024
"""Assumed length of a prompt that is as long as its question."""


class RunObserver(Protocol):
    """An observer of a run, such as a progress bar."""

    def started(self, plan: SuitePlan, pending: Sequence[SampleKey]) -> None:
        """Called once, before the first prompt is made; `pending` are the samples still to be run."""
        ...

    def prompt_sent(self, key: SampleKey) -> None:
        """Called whenever a prompt is sent to the model, which may have several at once."""
        ...

    def sample_ended(self, record: SampleRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the record of a run says about the command that made it."""

    seed: int
    config: dict[str, Any]
    config_passed: dict[str, Any]
    warnings: tuple[str, ...]
    started_at: float
    """`time.perf_counter()` at the start of the command."""
    tokens_seen: int | None = None
    preflight: tuple[PreflightCheck, ...] = ()
    command: str = ""
    """The command line."""


def run(
    suite: Suite[AskedT],
    adapter: Adapter,
    store: RunStore,
    settings: RunSettings,
    observer: RunObserver,
    plan: SuitePlan | None = None,
) -> RunRecord:
    """Answer the pending samples, store each as it ends, and return the run's record.

    `plan` is the suite's if the caller has made it already, since it may read whole corpora. `store` holds the samples
    of earlier sessions, which are kept as they are; the record is that of this command. Raises
    IncompatibleRunError if the store holds samples that are not in the plan, and UsageError if it cannot be written.
    """
    plan = plan or suite.plan()
    _refuse_leftovers(store, plan)
    pending = [key for key in plan.keys if key.id not in store.records]
    start = _start(suite, adapter, settings, plan, store)
    store.begin(start)
    observer.started(plan, pending)
    if pending:
        log = SessionLog(store, adapter, settings.started_at, settings.command)
        _answer(suite, adapter, store, observer, pending, log)
    records = [store.records[key.id] for key in plan.keys]
    summary = suite.summarize(records)
    return assemble(start, records, summary if plan.shard is None else summary_of_part(summary), store.sessions)


def _start(suite: Suite[Any], adapter: Adapter, settings: RunSettings, plan: SuitePlan, store: RunStore) -> RunStart:
    return RunStart(
        schema=START_SCHEMA,
        run_id=store.folder.resolve().name,
        suite=suite.name,
        suite_version=suite.version,
        dialect=suite.dialect,
        seed=settings.seed,
        model=adapter.identity,
        config=settings.config,
        config_passed=settings.config_passed,
        corpora=plan.corpora,
        planned=len(plan.keys),
        unscored=plan.unscored,
        warnings=(*settings.warnings, *store.notes),
        tokens_seen=settings.tokens_seen,
        preflight=settings.preflight,
        question_settings=plan.question_settings,
        shard=plan.shard,
        planned_tokens=sum(map(cost, plan.keys)),
    )


def _answer(
    suite: Suite[AskedT],
    adapter: Adapter,
    store: RunStore,
    observer: RunObserver,
    pending: Sequence[SampleKey],
    log: SessionLog,
) -> None:
    stream = _RequestStream(suite, store, observer, log)
    # Closed in any case, so that an abandoned run leaves no thread behind.
    with log, closing(stream.requests(pending)) as requests:
        for answer in adapter.generate(requests):
            answered = stream.take(answer)
            if answered is None:
                continue
            asked, completion = answered
            # A failed request is not judged.
            score = Score(None) if completion.error is not None else suite.judge(asked, completion)
            record = sample_record(asked, completion, score, log.number)
            store.append(record)
            log.sample_ended()
            observer.sample_ended(record)
        unanswered = [key.id for key in pending if key.id not in store.records]
        if unanswered:
            raise RuntimeError(f"the adapter left {len(unanswered)} requests unanswered, such as {unanswered[0]}")


class _RequestStream(Generic[AskedT]):
    """The requests of a run, made while the model works, and the samples in flight.

    Samples that cannot be run are stored at once.
    """

    def __init__(self, suite: Suite[AskedT], store: RunStore, observer: RunObserver, log: SessionLog) -> None:
        self._suite, self._store, self._observer, self._log = suite, store, observer, log
        self._in_flight: dict[str, AskedT] = {}
        """By id of each request that is not answered."""
        self._answers: dict[str, Completion] = {}
        """By id of each request of a sample with others that are not answered."""

    def requests(self, pending: Sequence[SampleKey]) -> Generator[Request, None, None]:
        with closing(prefetch(self._prepare, pending, depth=_prepared_ahead(pending))) as prepared_samples:
            for key, asked, unscored in prepared_samples:
                if asked is None:
                    record = _not_asked(key, unscored, self._log.number)
                    self._store.append(record)
                    self._log.sample_ended()
                    self._observer.sample_ended(record)
                    continue
                self._log.prompt_sent()
                for request in asked.requests:
                    if request.id in self._in_flight:
                        raise ValueError(f"two requests are called {request.id}")
                    self._in_flight[request.id] = asked
                self._observer.prompt_sent(key)
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


def _prepared_ahead(keys: Sequence[SampleKey]) -> int:
    longest = max((key.ctx for key in keys), default=0) or SHORT_TOKENS
    return max(PREPARED_AHEAD, PREPARED_TOKENS_AHEAD // longest)


def _refuse_leftovers(store: RunStore, plan: SuitePlan) -> None:
    asked = {key.id for key in plan.keys}
    leftovers = [sample_id for sample_id in store.records if sample_id not in asked]
    if leftovers:
        raise IncompatibleRunError(
            f"{store.folder} holds {len(leftovers)} samples that are not in this run (such as {leftovers[0]}); "
            "pass at least the same tasks, lengths and samples, or use another --out"
        )


def sample_record(asked: Asked, completion: Completion, score: Score, session: int = 0) -> SampleRecord:
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
        session=session,
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


def _not_asked(key: SampleKey, reason: str, session: int) -> SampleRecord:
    nothing = Asked(Sample(key, "", "", (), generation_tokens=0, prompt_tokens=0, metric=""), ())
    record = sample_record(nothing, Completion(key.id, "", 0, 0, "error", 0.0, 0.0), Score(None), session)
    return replace(record, unscored=reason, prompt_sha256="", generation_tokens=None, excerpts=())
