"""One suite on one model, from settings to a stored run."""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import __version__
from evalkit.cli.shared import options
from evalkit.cli.shared.output import print_result
from evalkit.errors import EvalkitError, IncompatibleRunError, UsageError
from evalkit.files import plain_name
from evalkit.records import Manifest, Shard, generated_roles, keys_of
from evalkit.running.chat import unused_template
from evalkit.running.folder_lock import FolderInUseError, FolderLock
from evalkit.running.model_options import ChatMode, ModelOptions
from evalkit.running.replicas.options import ReplicaOptions
from evalkit.running.runner import RunSettings, manifest_of, run
from evalkit.running.shards import SHARDS, part_of, shard_folder
from evalkit.running.store import RunStore, check_out, numbered_folder
from evalkit.suite_spec import Reader, SuiteSpec, readable_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import RunRecord, SuitePlan
    from evalkit.running.answering import Answerer
    from evalkit.running.protocols import Suite
    from model_adapters.keeping import ModelKeeper
    from model_adapters.opening import OpenedModel

RUNS = Path("runs")
FIGURES = "figures"

# Exit codes other than 0 and the 2 of every EvalkitError.
CHECK_FAILED = 1
HAS_ERRORS = 3
INTERNAL_ERROR = 70
INTERRUPTED = 130


class Interrupted(KeyboardInterrupt):
    """The user stopped a run; `folder` is where it can be continued, None if it had none yet."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.folder = folder


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run is stored and how it is shown."""

    out: Path | None
    resume: bool
    format: options.Format
    passed: Mapping[str, Any]
    """The options that the user gave."""
    started_at: float
    """`time.perf_counter()` at the start of the command."""
    baseline: str | None = None
    """A model that runs on the same samples first."""
    superseded: Path | None = None
    """Folder to which a run in `out` is moved if it cannot be continued; None refuses it."""
    shard: Shard | None = None
    """The part of the run to answer; None for all of it."""
    replicas: ReplicaOptions | None = None
    """Copies of the model that share the samples; None runs it in this process."""
    keeper: "ModelKeeper | None" = None
    """Holds the model for the runs that follow; None if there are none."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished and stored run."""

    run: "StoredRun"
    report_code: int = 0
    """Exit code of a failure in its reports, which are made after it is stored."""

    @property
    def exit_code(self) -> int:
        """That of the reports, of samples that errored, or of a failed verdict, in this order."""
        if self.report_code or self.run.record.counts.errors:
            return self.report_code or HAS_ERRORS
        return CHECK_FAILED if any(verdict.outcome == "fail" for verdict in self.run.record.verdicts) else 0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A run before its first sample."""

    spec: SuiteSpec[Any]
    settings: Any
    suite: "Suite[Any]"
    plan: "SuitePlan"
    manifest: Manifest
    run_settings: RunSettings
    make_answerer: "Callable[[], Answerer]"
    """Makes what answers the samples, once."""
    others: Mapping[str, "StoredRun"]
    chat: ChatMode


def perform(
    spec: SuiteSpec[Any],
    settings: Any,
    model_options: ModelOptions,
    run_options: RunOptions,
    *,
    role: str = "",
    others: Mapping[str, "StoredRun"] | None = None,
) -> Finished:
    """Run one suite on one model and store the run; raises Interrupted if the user stops it.

    The run's folder is locked before the model is loaded. `role` is the model's role in another run. `others` are the
    runs that the verdicts of this one need, by role.
    """
    notes = notes_console()
    note(notes, f"{settings.headline()}, model {model_options.model}{f' ({role})' if role else ''}")
    folder = run_options.out
    spec.check_chat(model_options.chat_options, settings)
    try:
        with ExitStack() as stack:
            check_place(run_options)
            lock = None if folder is None else stack.enter_context(FolderLock(folder))
            model_options = engine_options(spec, model_options)
            opened = _open(stack, spec, settings, model_options, run_options, notes)
            prepared = _prepare(spec, settings, model_options, run_options, opened, others or {})
            lock = lock or stack.enter_context(_lock_default_folder(prepared, resume=run_options.resume))
            folder = lock.folder
            _describe(notes, opened, prepared, folder)
            try:
                return _carry_out(prepared, lock, run_options, notes)
            except IncompatibleRunError as error:
                if run_options.superseded is None:
                    raise
                lock.release()
                note(notes, f"{error}: the old run is kept as {set_aside(folder, run_options.superseded)}")
                return _carry_out(prepared, stack.enter_context(FolderLock(folder)), run_options, notes)
    except KeyboardInterrupt:
        raise Interrupted(folder) from None


def show_finished(finished: Finished, format: options.Format) -> int:
    """Show a finished run, and return the exit code."""
    notes, folder = notes_console(), finished.run.folder
    code = make_of_stored(notes, "the tables", folder, lambda: show_record(finished.run.record, format))
    note(notes, f"stored in {folder}")
    return code or finished.exit_code


def make_of_stored(notes: "Console", what: str, folder: Path, make: Callable[[], object]) -> int:
    """Make an output of a stored run; a failure is one line and an exit code, and loses nothing."""
    try:
        make()
    except BrokenPipeError:
        raise
    except (EvalkitError, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        code = UsageError.exit_code
    except Exception as error:  # noqa: BLE001  # a fault in a renderer is reported, and the run is stored all the same
        reason, code = f"{type(error).__name__}: {error}", INTERNAL_ERROR
    else:
        return 0
    note(notes, f"evalkit: {what} could not be made ({reason}); the run is stored in {folder}")
    return code


def show_record(record: "RunRecord", format: options.Format) -> None:
    """Print a run on stdout, as tables or as JSON."""
    from reports.run_report import run_report

    print_result(format, record, run_report(record))


def record_config(settings: Any, model_options: ModelOptions) -> dict[str, Any]:
    """The configuration for the record, completed by defaults."""
    values = {**asdict(settings), **asdict(model_options)}
    return {name: str(value) if isinstance(value, StrEnum) else value for name, value in values.items()}


def engine_options(spec: SuiteSpec[Any], model_options: ModelOptions) -> ModelOptions:
    """The options, with one sequence for a suite that never decodes, where more would only take memory."""
    if not spec.scores_only or model_options.batch_sequences is not None:
        return model_options
    return replace(model_options, batch_sequences=1)


def check_place(run_options: RunOptions) -> None:
    """Raise UsageError if the run cannot be stored, before minutes are spent on loading a model."""
    if run_options.out is None:
        check_out(RUNS, resume=True)
    else:
        check_out(run_options.out, resume=run_options.resume)


def set_aside(folder: Path, superseded: Path) -> Path:
    """Move a run's folder below `superseded`, and return its new place; UsageError if it cannot be moved."""
    place = numbered_folder(superseded, f"{folder.parent.name}-{folder.name}", resume=False)
    try:
        superseded.mkdir(parents=True, exist_ok=True)
        return folder.rename(place)
    except OSError as error:
        raise UsageError(f"{folder} cannot be moved to {place}: {error.strerror}; move it elsewhere") from None


def notes_console() -> "Console":
    """The console for notes, on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(notes: "Console", line: str, style: str = "") -> None:
    """Print one line of text, which may be untrusted."""
    from rich.text import Text

    from reports.plain_text import one_line

    notes.print(Text(one_line(line), style=style))


def _open(
    stack: ExitStack,
    spec: SuiteSpec[Any],
    settings: Any,
    model_options: ModelOptions,
    run_options: RunOptions,
    notes: "Console",
) -> "OpenedModel":
    """Load the model here, or in replicas that run until `stack` is closed."""
    from model_adapters.opening import memory_forecast, open_model
    from reports.progress import Phases

    keeper = run_options.keeper
    if run_options.replicas is not None:
        from model_adapters.replicas.opening import open_replicas

        if keeper is not None:
            keeper.close()  # the replicas need its memory

        tell = partial(note, notes)
        return stack.enter_context(open_replicas(spec.name, settings, model_options, run_options.replicas, tell))
    loaded_bytes = 0 if keeper is None else keeper.make_room(model_options)
    if (forecast := memory_forecast(model_options, max(settings.contexts(), default=0), loaded_bytes)) is not None:
        note(notes, forecast)
    with Phases(notes):
        return open_model(model_options, settings.contexts(), keeper)


def _prepare(
    spec: SuiteSpec[Any],
    settings: Any,
    model_options: ModelOptions,
    run_options: RunOptions,
    opened: "OpenedModel",
    others: Mapping[str, "StoredRun"],
) -> _Prepared:
    suite = spec.build(settings, Reader(opened.tokenizer, readable_tokens(opened.identity), model_options.chat_options))
    plan = suite.plan()
    plan = plan if run_options.shard is None else part_of(plan, run_options.shard)
    if plan.log_probabilities and not opened.log_probabilities:
        raise UsageError(
            f"{suite.name} asks for log-probabilities of given text, and the server at {model_options.server} gives "
            "none; use a server that takes echo with logprobs, or a suite that generates, such as ruler"
        )
    manifest = manifest_of(suite, plan, opened.identity)
    roles = {role: other.record.model.path for role, other in others.items()}
    run_settings = RunSettings(
        seed=manifest.seed,
        config={**record_config(settings, model_options), **roles},
        config_passed=dict(run_options.passed),
        warnings=_warnings(opened, plan),
        started_at=run_options.started_at,
        tokens_seen=opened.tokens_seen,
        preflight=opened.preflight,
        command=shlex.join(["evalkit", *sys.argv[1:]]),
    )
    make_answerer = cache(lambda: opened.answerer(suite, manifest))
    return _Prepared(spec, settings, suite, plan, manifest, run_settings, make_answerer, others, model_options.chat)


def _carry_out(prepared: _Prepared, lock: FolderLock, run_options: RunOptions, notes: "Console") -> Finished:
    from evalkit.analysis.finished_run import StoredRun
    from reports.progress import Phases, ProgressBar

    plan = prepared.plan
    with Phases(notes):
        answerer = prepared.make_answerer()
    manifest = prepared.manifest.answered_by(answerer.describe(), __version__)
    with RunStore.open(lock.folder, manifest, resume=run_options.resume, lock=lock) as store:
        for line in store.notes:
            note(notes, f"note: {line}")
        with ProgressBar(notes) as progress:
            record = run(prepared.suite, answerer, store, prepared.run_settings, progress, plan)
        stored = store.records
        finished = StoredRun(lock.folder, record, {key.id: stored[key.id] for key in plan.keys})
        if prepared.spec.conclude is not None and plan.shard is None:
            finished = replace(finished, record=prepared.spec.conclude(prepared.settings, finished, prepared.others))
        store.finish(finished.record)
        return Finished(finished, make_reports(notes, store, finished, charts=prepared.spec.stores_charts))


def make_reports(notes: "Console", store: RunStore, finished: "StoredRun", *, charts: bool) -> int:
    """Write report.md and the charts of a stored run; returns the exit code of a failure, else 0."""
    from reports import markdown
    from reports.chart_files import write_charts
    from reports.run_charts import run_charts

    record, folder = finished.record, finished.folder
    code = make_of_stored(notes, "report.md", folder, lambda: store.write_report(markdown.render_run(record)))
    if not charts:
        return code
    samples = tuple(finished.samples.values())
    drawn = make_of_stored(
        notes, "the charts", folder, lambda: write_charts(run_charts(record, samples), folder / FIGURES)
    )
    return drawn or code


def _warnings(opened: "OpenedModel", plan: "SuitePlan") -> tuple[str, ...]:
    warnings = []
    trained = opened.identity.trained_length
    beyond = sorted({key.ctx for key in plan.keys if trained is not None and key.ctx > trained})
    if beyond:
        lengths = ", ".join(f"{ctx:,}" for ctx in beyond)
        warnings.append(f"context {lengths} is above the trained length of {trained:,}")
    if opened.identity.positions.injected:
        warnings.append(f"positions: {opened.identity.positions.description}")
    return (*opened.warnings, *warnings)


def _lock_default_folder(prepared: _Prepared, *, resume: bool) -> FolderLock:
    """The locked folder runs/<suite>-<model>-<digest of settings and model>.

    The digest ignores the number of samples, so that --resume with more --samples extends the same run. The shards of
    a run have folders such as runs/shards/<suite>-<model>-<digest>/3-of-8.
    """
    manifest, shard = prepared.manifest, prepared.plan.shard
    keys = prepared.plan.keys if shard is None else keys_of(shard.plan)
    cells = sorted({(key.task, key.ctx) for key in keys})
    digest = hashlib.sha256(json.dumps([manifest.asked, cells], sort_keys=True).encode()).hexdigest()[:8]
    model = plain_name(manifest.model)[-40:].lstrip("-.")
    name = f"{manifest.suite}-{model}-{digest}"
    place = (RUNS, name) if shard is None else (RUNS / SHARDS / name, shard_folder(shard))
    while True:
        folder = numbered_folder(*place, resume=resume)
        try:
            return FolderLock(folder)
        except FolderInUseError:
            if resume:
                raise
            # Another process took the number in the meantime, and the next one is free.


def _describe(notes: "Console", opened: "OpenedModel", prepared: _Prepared, folder: Path) -> None:
    from reports.subject_facts import corpus_facts, describe_model

    note(notes, f"model: {describe_model(opened.identity)}")
    if opened.device:
        note(notes, f"device: {opened.device}")
    note(notes, f"positions: {opened.identity.positions.description}")
    for name, described in corpus_facts(prepared.plan.corpora):
        note(notes, f"{name}: {described}")
    unused = unused_template(opened.tokenizer, prepared.chat) if prepared.spec.renders_chat else None
    if unused is not None:
        note(notes, f"note: {unused}")
    if roles := generated_roles(prepared.plan.corpora):
        from suites.corpora.folder import DATA_VARIABLE

        given = os.environ.get(DATA_VARIABLE)
        lacking = f"{DATA_VARIABLE}={given} has no file for {'it' if len(roles) == 1 else 'them'}. " if given else ""
        note(
            notes,
            f"GENERATED CORPORA ({', '.join(roles)}): text that comes with evalkit; scores on it compare with nothing "
            f"published. {lacking}Get the public corpora with: evalkit data fetch",
            style="yellow",
        )
    for warning in (*prepared.run_settings.warnings, *prepared.plan.warnings):
        note(notes, f"warning: {warning}", style="yellow")
    note(notes, f"run folder: {folder}")
