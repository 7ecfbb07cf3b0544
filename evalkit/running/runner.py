"""The runner: have the pending samples of a suite answered, and store each as it ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from evalkit.errors import IncompatibleRunError
from evalkit.records import (
    START_SCHEMA,
    Manifest,
    ModelIdentity,
    PreflightCheck,
    RunRecord,
    RunStart,
    SampleKey,
    SampleRecord,
    SuitePlan,
)
from evalkit.running.answering import Answerer
from evalkit.running.assembly import assemble, summary_of_part
from evalkit.running.protocols import Suite
from evalkit.running.replicas.work import cost_tokens
from evalkit.running.session_log import SessionLog
from evalkit.running.store import RunStore
from evalkit.values import counted


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
    suite: Suite[Any],
    answerer: Answerer,
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
    pending = [key for key in plan.keys if key.id not in store.done]
    start = _start(suite, answerer.identity, settings, plan, store)
    store.begin(start)
    observer.started(plan, pending)
    if pending:
        with SessionLog(store, answerer, settings.started_at, settings.command) as log:
            answerer.answer(pending, _Storing(store, observer, log))
    stored = store.records
    records = [stored[key.id] for key in plan.keys]
    summary = suite.summarize(records)
    return assemble(start, records, summary if plan.shard is None else summary_of_part(summary), store.sessions)


def manifest_of(suite: Suite[Any], plan: SuitePlan, identity: ModelIdentity) -> Manifest:
    """What the samples of a run have in common, apart from the engine that answers them."""
    return Manifest.of(
        suite=suite.name,
        version=suite.version,
        dialect=suite.dialect,
        seed=seed_of(plan),
        identity=identity,
        corpora=plan.corpora,
        question_settings=plan.question_settings,
        shard=plan.shard,
    )


def seed_of(plan: SuitePlan) -> int:
    """The seed that all samples of a suite share; 0 if nothing is drawn."""
    return plan.keys[0].seed if plan.keys else 0


def _start(
    suite: Suite[Any], identity: ModelIdentity, settings: RunSettings, plan: SuitePlan, store: RunStore
) -> RunStart:
    return RunStart(
        schema=START_SCHEMA,
        run_id=store.folder.resolve().name,
        suite=suite.name,
        suite_version=suite.version,
        dialect=suite.dialect,
        seed=settings.seed,
        model=identity,
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
        planned_tokens=sum(map(cost_tokens, plan.keys)),
    )


@dataclass(frozen=True, slots=True)
class _Storing:
    """Stores each sample as it ends, and passes everything on to the observer and the session."""

    store: RunStore
    observer: RunObserver
    log: SessionLog

    def sent(self, key: SampleKey) -> None:
        self.log.prompt_sent()
        self.observer.prompt_sent(key)

    def ended(self, record: SampleRecord) -> None:
        record = replace(record, session=self.log.number)
        self.store.append(record)
        self.log.sample_ended()
        self.observer.sample_ended(record)


def _refuse_leftovers(store: RunStore, plan: SuitePlan) -> None:
    asked = {key.id for key in plan.keys}
    leftovers = [sample_id for sample_id in store.done if sample_id not in asked]
    if leftovers:
        raise IncompatibleRunError(
            f"{store.folder} holds {counted(len(leftovers), 'sample')} not in this run (such as {leftovers[0]}); "
            "pass at least the same tasks, lengths and samples, or use another --out"
        )
