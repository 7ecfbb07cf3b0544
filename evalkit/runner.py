"""One run: samples are prepared ahead, answered by the adapter, scored, and stored as they end."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evalkit.environment import describe_environment
from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.prefetch import prefetch
from evalkit.protocols import Adapter, Suite
from evalkit.records import (
    SCHEMA,
    Completion,
    Request,
    RunRecord,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
)
from evalkit.run_store import RunStore

# Two prompts ahead keep the model busy; at 65,536 tokens each holds about a megabyte.
PREPARED_AHEAD = 2


class RunObserver(Protocol):
    """Whoever watches a run, such as a progress bar."""

    def started(self, plan: SuitePlan, pending: int) -> None: ...

    def sample_ended(self, record: SampleRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the record of a run says about how it was asked for."""

    seed: int
    config: dict[str, Any]
    config_passed: dict[str, Any]
    warnings: tuple[str, ...]
    started_at: float
    """`time.perf_counter()` at the start of the command."""
    tokens_seen: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sample with its request, or the reason why it could not be made."""

    key: SampleKey
    sample: Sample | None
    request: Request | None
    unscored: str | None = None


def run(suite: Suite, adapter: Adapter, store: RunStore, settings: RunSettings, observer: RunObserver) -> RunRecord:
    """Ask all that is still open, store each sample as it ends, and return the run's record.

    `store` holds the samples of an earlier attempt; they are kept as they are. Raises UsageError where the store
    holds samples that this run does not ask for, or cannot be written.
    """
    plan = suite.plan()
    _refuse_leftovers(store, plan)
    pending = [key for key in plan.keys if key.id not in store.records]
    observer.started(plan, len(pending))
    stream = _RequestStream(suite, store, observer, pending, settings.started_at)
    for completion in adapter.generate(stream):
        sample = stream.in_flight.pop(completion.request_id)
        record = _answered(sample, completion, _score(suite, sample, completion))
        store.append(record)
        observer.sample_ended(record)
    if stream.in_flight:
        raise RuntimeError(f"the adapter left {len(stream.in_flight)} requests unanswered")
    records = [store.records[key.id] for key in plan.keys]
    return _assemble(suite, adapter, store, settings, plan, records, stream.first_prompt_seconds)


class _RequestStream:
    """The requests of a run, made while the model works; samples that cannot be asked are stored at once."""

    def __init__(
        self,
        suite: Suite,
        store: RunStore,
        observer: RunObserver,
        pending: Sequence[SampleKey],
        started_at: float,
    ) -> None:
        self.in_flight: dict[str, Sample] = {}
        self.first_prompt_seconds: float | None = None
        self._suite, self._store, self._observer = suite, store, observer
        self._pending, self._started_at = pending, started_at

    def __iter__(self) -> Iterator[Request]:
        for prepared in prefetch(self._prepare, self._pending, depth=PREPARED_AHEAD):
            if prepared.sample is None or prepared.request is None:
                record = _not_asked(prepared.key, prepared.unscored or "not prepared")
                self._store.append(record)
                self._observer.sample_ended(record)
                continue
            if self.first_prompt_seconds is None:
                self.first_prompt_seconds = time.perf_counter() - self._started_at
            self.in_flight[prepared.request.id] = prepared.sample
            yield prepared.request

    def _prepare(self, key: SampleKey) -> Prepared:
        try:
            sample = self._suite.sample(key)
        except SampleDoesNotFitError as error:
            return Prepared(key, None, None, str(error))
        return Prepared(key, sample, self._suite.request(sample))


def _refuse_leftovers(store: RunStore, plan: SuitePlan) -> None:
    asked = {key.id for key in plan.keys}
    leftovers = [sample_id for sample_id in store.records if sample_id not in asked]
    if leftovers:
        raise UsageError(
            f"{store.folder} holds {len(leftovers)} samples that this run does not ask for (such as {leftovers[0]}); "
            "ask for at least the same tasks, lengths and samples, or use another --out"
        )


def _score(suite: Suite, sample: Sample, completion: Completion) -> Score:
    """The suite's judgement; a request that failed is not judged."""
    score = suite.score(sample, completion)
    return Score(metric=score.metric, value=None) if completion.error is not None else score


def _answered(sample: Sample, completion: Completion, score: Score) -> SampleRecord:
    return SampleRecord(
        id=sample.id,
        task=sample.key.task,
        ctx=sample.key.ctx,
        index=sample.key.index,
        seed=sample.key.seed,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        prompt_sha256=hashlib.sha256(sample.prompt.encode()).hexdigest(),
        depths=sample.depths,
        gold_positions=sample.gold_positions,
        targets=sample.targets,
        prediction=completion.text,
        finish_reason=completion.finish_reason,
        metric=score.metric,
        score=score.value,
        failure=score.failure,
        error=completion.error,
        unscored=None,
        prefill_seconds=completion.prefill_seconds,
        decode_seconds=completion.decode_seconds,
    )


def _not_asked(key: SampleKey, reason: str) -> SampleRecord:
    return SampleRecord(
        id=key.id,
        task=key.task,
        ctx=key.ctx,
        index=key.index,
        seed=key.seed,
        prompt_tokens=0,
        completion_tokens=0,
        prompt_sha256="",
        depths=(),
        gold_positions=(),
        targets=(),
        prediction="",
        finish_reason="error",
        metric="",
        score=None,
        failure=None,
        error=None,
        unscored=reason,
        prefill_seconds=0.0,
        decode_seconds=0.0,
    )


def _assemble(
    suite: Suite,
    adapter: Adapter,
    store: RunStore,
    settings: RunSettings,
    plan: SuitePlan,
    records: Sequence[SampleRecord],
    first_prompt_seconds: float | None,
) -> RunRecord:
    summary = suite.summarize(records)
    failures = Counter(record.failure for record in records if record.failure is not None)
    return RunRecord(
        schema=SCHEMA,
        run_id=store.folder.name,
        suite=suite.name,
        suite_version=suite.version,
        dialect=suite.dialect,
        seed=settings.seed,
        model=adapter.identity,
        config={**settings.config, "engine": adapter.describe()},
        config_passed=settings.config_passed,
        corpora=plan.corpora,
        environment=describe_environment(),
        results=summary.results,
        summary=summary.summary,
        effective_length=summary.effective_length,
        derived=summary.derived,
        failures=dict(sorted(failures.items())),
        unscored=plan.unscored,
        counts={
            "n": len(records),
            "errors": sum(record.error is not None for record in records),
            "unscored": sum(record.unscored is not None for record in records),
        },
        timing=_timing(records, settings.started_at, first_prompt_seconds),
        memory=adapter.memory(),
        warnings=settings.warnings,
        tokens_seen=settings.tokens_seen,
    )


def _timing(
    records: Sequence[SampleRecord], started_at: float, first_prompt_seconds: float | None
) -> dict[str, float | None]:
    prefill_seconds = sum(record.prefill_seconds for record in records)
    decode_seconds = sum(record.decode_seconds for record in records)
    prompt_tokens = sum(record.prompt_tokens for record in records)
    completion_tokens = sum(record.completion_tokens for record in records)
    return {
        "wall_seconds": time.perf_counter() - started_at,
        "first_prompt_seconds": first_prompt_seconds,
        "prefill_seconds": prefill_seconds,
        "decode_seconds": decode_seconds,
        "prefill_tokens_per_second": prompt_tokens / prefill_seconds if prefill_seconds > 0 else None,
        "decode_tokens_per_second": completion_tokens / decode_seconds if decode_seconds > 0 else None,
    }
