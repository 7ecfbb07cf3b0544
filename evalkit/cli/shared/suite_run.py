"""From a suite and a model to a stored, printed run: the part that every suite command shares."""

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import __version__
from evalkit.cli.shared import options
from evalkit.errors import EvalkitError, UsageError
from evalkit.records import Manifest
from evalkit.running.folder_lock import FolderInUseError, FolderLock
from evalkit.running.runner import RunSettings, run
from evalkit.running.store import RunStore, check_out, numbered_folder

if TYPE_CHECKING:
    from rich.console import Console

    from evalkit.records import ModelIdentity, RunRecord, SampleRecord, SuitePlan
    from evalkit.running.protocols import Adapter, Suite
    from model_adapters.loading import LoadedModel

RUNS = Path("runs")

# Exit codes beside 0 and the 2 of every EvalkitError.
HAS_ERRORS = 3
INTERNAL_ERROR = 70
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model is run, and how."""

    model: str
    device: str
    dtype: str
    segment_tokens: int | None
    batch_sequences: int | None
    trust_remote_code: bool
    override: str | None = None
    """Positions other than the checkpoint's own, for a control experiment."""
    skip_preflight: bool = False
    gdn_kernel: str = "auto"


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


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that came to its end, and where it is stored."""

    record: "RunRecord"
    samples: "tuple[SampleRecord, ...]"
    folder: Path
    report_code: int = 0
    """Exit code of what went wrong with its reports, which are made after it is stored."""

    @property
    def exit_code(self) -> int:
        return self.report_code or (HAS_ERRORS if self.record.counts["errors"] else 0)


BuildSuite = Callable[["LoadedModel"], "Suite"]
Conclude = Callable[["RunRecord", "Sequence[SampleRecord]"], "RunRecord"]
"""Called before the record is stored: returns it with what follows from its samples."""
Illustrate = Callable[["RunRecord", "Sequence[SampleRecord]", Path], object]
"""Called after the record is stored: writes charts into the run's folder."""


def execute(
    build: "BuildSuite",
    model_options: ModelOptions,
    run_options: RunOptions,
    *,
    settings: Mapping[str, Any],
    headline: str,
) -> int:
    """Run one suite on one model, show the run, and return the exit code."""
    finished = perform(build, model_options, run_options, settings=settings, headline=headline)
    return show_finished(finished, run_options.format) if isinstance(finished, Finished) else finished


def show_finished(finished: Finished, format: options.Format) -> int:
    """Show a run that came to its end, and return the exit code."""
    notes = stderr_console()
    code = make_of_stored(notes, "the tables", finished.folder, lambda: show_record(finished.record, format))
    _note(notes, f"stored in {finished.folder}")
    return code or finished.exit_code


def perform(
    build: "BuildSuite",
    model_options: ModelOptions,
    run_options: RunOptions,
    *,
    settings: Mapping[str, Any],
    headline: str,
    conclude: Conclude | None = None,
    illustrate: Illustrate | None = None,
) -> Finished | int:
    """Run one suite on one model and store the run; an exit code if it was stopped.

    `settings` are the suite's, completed by defaults; `seed` and `ctxs` must be among them. `headline` is the first
    line of output, printed before anything is loaded. The run's folder is locked before the model is loaded.
    """
    notes = stderr_console()
    _note(notes, headline)
    folder = run_options.out
    try:
        with ExitStack() as stack:
            check_place(run_options)
            lock = None if folder is None else stack.enter_context(FolderLock(folder))
            if (forecast := _memory_forecast(model_options, max(settings["ctxs"], default=0))) is not None:
                _note(notes, forecast)
            loaded = load(model_options, tuple(settings["ctxs"]))
            suite = build(loaded)
            plan = suite.plan()
            manifest = _manifest(suite, plan, loaded, settings["seed"])
            lock = lock or stack.enter_context(_lock_default_folder(manifest, plan, resume=run_options.resume))
            folder = lock.folder
            warnings = _warnings(loaded, settings["ctxs"])
            _describe(notes, loaded, (*warnings, *plan.warnings), folder)
            run_settings = RunSettings(
                seed=settings["seed"],
                config={name: _plain(value) for name, value in {**settings, **asdict(model_options)}.items()},
                config_passed=dict(run_options.passed),
                warnings=warnings,
                started_at=run_options.started_at,
                tokens_seen=loaded.tokens_seen,
                preflight=loaded.preflight,
            )
            adapter = make_adapter(loaded, model_options)
            manifest = manifest.answered_by(adapter.describe(), __version__)
            store = stack.enter_context(RunStore.open(folder, manifest, resume=run_options.resume, lock=lock))
            record, samples = _answer(notes, suite, adapter, store, run_settings, plan)
            record = record if conclude is None else conclude(record, samples)
            store.finish(record)
            return Finished(record, samples, folder, _make_reports(notes, store, record, samples, illustrate))
    except KeyboardInterrupt:
        hint = "run the same command again" if folder is None else f"continue with: {_resume_command(folder)}"
        _note(notes, f"stopped; {hint}")
        return INTERRUPTED


def _answer(
    notes: "Console",
    suite: "Suite",
    adapter: "Adapter",
    store: RunStore,
    run_settings: RunSettings,
    plan: "SuitePlan",
) -> "tuple[RunRecord, tuple[SampleRecord, ...]]":
    from reports.progress import ProgressBar

    for note in store.notes:
        _note(notes, f"note: {note}")
    with ProgressBar(notes) as progress:
        record = run(suite, adapter, store, run_settings, progress, plan)
    return record, tuple(store.records[key.id] for key in plan.keys)


def _make_reports(
    notes: "Console",
    store: RunStore,
    record: "RunRecord",
    samples: "Sequence[SampleRecord]",
    illustrate: Illustrate | None,
) -> int:
    """Write report.md and the charts of a stored run; the exit code of what went wrong, 0 if nothing did."""
    from reports import markdown

    folder = store.folder
    code = make_of_stored(notes, "report.md", folder, lambda: store.write_report(markdown.render_run(record)))
    if illustrate is None:
        return code
    return make_of_stored(notes, "the charts", folder, lambda: illustrate(record, samples, folder)) or code


def make_of_stored(notes: "Console", what: str, folder: Path, make: Callable[[], object]) -> int:
    """Make something of a stored run; what goes wrong with it is one line and an exit code, and loses nothing."""
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
    _note(notes, f"evalkit: {what} could not be made ({reason}); the run is stored in {folder}")
    return code


def readable_tokens(identity: "ModelIdentity") -> int | None:
    """How long a question may be: a model with positions reads no further than it was trained to."""
    return None if identity.positions.kind == "none" else identity.trained_length


def stderr_console() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_record(record: "RunRecord", format: options.Format) -> None:
    """Print a run on stdout: tables for people, or the record itself as JSON."""
    if format is options.Format.JSON:
        from evalkit.records.codec import to_json

        print(to_json(record, indent=2))
        return
    from reports.terminal import print_run, stdout_console

    print_run(stdout_console(), record)


def check_place(run_options: RunOptions) -> None:
    """Report what is wrong with the place of a run before minutes go into loading a model."""
    if run_options.out is None:
        check_out(RUNS, resume=True)
    else:
        check_out(run_options.out, resume=run_options.resume)


def _memory_forecast(model_options: ModelOptions, ctx: int) -> str | None:
    """What the run will take of a GPU, before the model is loaded; raises UsageError where it does not fit."""
    from model_adapters.loading import find_device

    if ctx == 0 or find_device(model_options.device).type != "cuda":
        return None
    from model_adapters.memory_forecast import forecast_memory

    return forecast_memory(
        model_options.model,
        ctx,
        device=model_options.device,
        dtype=model_options.dtype,
        segment_tokens=model_options.segment_tokens,
        slots=model_options.batch_sequences,
        trust_remote_code=model_options.trust_remote_code,
        override=model_options.override,
    )


def load(model_options: ModelOptions, ctxs: tuple[int, ...] = ()) -> "LoadedModel":
    """The model for runs of these context lengths, checked in a short preflight; UsageError where that stops."""
    from model_adapters.loading import load_model

    loaded = load_model(
        model_options.model,
        device=model_options.device,
        dtype=model_options.dtype,
        trust_remote_code=model_options.trust_remote_code,
        override=model_options.override,
        gdn_kernel=model_options.gdn_kernel,
        ctxs=ctxs,
    )
    if model_options.skip_preflight:
        return loaded
    from model_adapters.preflight import Subject, refuse_stopped, short_preflight

    checks = short_preflight(Subject(loaded.model, loaded.tokenizer, loaded.identity))
    refuse_stopped(model_options.model, checks)
    return replace(loaded, preflight=checks)


def make_adapter(loaded: "LoadedModel", model_options: ModelOptions) -> "Adapter":
    from model_adapters.transformers_adapter import TransformersAdapter

    return TransformersAdapter(
        loaded.model,
        loaded.tokenizer,
        loaded.identity,
        segment_tokens=model_options.segment_tokens,
        batch_sequences=model_options.batch_sequences,
    )


def _warnings(loaded: "LoadedModel", ctxs: tuple[int, ...]) -> tuple[str, ...]:
    warnings = []
    trained = loaded.identity.trained_length
    beyond = [ctx for ctx in ctxs if trained is not None and ctx > trained]
    if beyond:
        lengths = ", ".join(f"{ctx:,}" for ctx in beyond)
        warnings.append(f"context {lengths} is above the trained length of {trained:,}")
    if loaded.identity.positions.injected:
        warnings.append(f"positions: {loaded.identity.positions.description}")
    return (*loaded.warnings, *warnings)


def _manifest(suite: "Suite", plan: "SuitePlan", loaded: "LoadedModel", seed: int) -> Manifest:
    return Manifest.of(
        suite=suite.name,
        version=suite.version,
        dialect=suite.dialect,
        seed=seed,
        identity=loaded.identity,
        corpora=plan.corpora,
        question_settings=plan.question_settings,
    )


def _lock_default_folder(manifest: Manifest, plan: "SuitePlan", *, resume: bool) -> FolderLock:
    """runs/<suite>-<model>-<digest of what is asked of which model, the number of samples aside>, locked.

    The number is left out so that --resume with more --samples adds to the same run.
    """
    cells = sorted({(key.task, key.ctx) for key in plan.keys})
    digest = hashlib.sha256(json.dumps([manifest.asked, cells], sort_keys=True).encode()).hexdigest()[:8]
    model = re.sub(r"[^A-Za-z0-9.]+", "-", manifest.model)[-40:].strip("-.")
    while True:
        folder = numbered_folder(RUNS, f"{manifest.suite}-{model}-{digest}", resume=resume)
        try:
            return FolderLock(folder)
        except FolderInUseError:
            if resume:
                raise
            # Another process took the number in the meantime; its folder is there now, and the next one is free.


def _describe(notes: "Console", loaded: "LoadedModel", warnings: tuple[str, ...], folder: Path) -> None:
    from reports.run_report import describe_model

    _note(notes, f"model: {describe_model(loaded.identity)}")
    _note(notes, f"positions: {loaded.identity.positions.description}")
    for warning in warnings:
        _note(notes, f"warning: {warning}", style="yellow")
    _note(notes, f"run folder: {folder}")


def _plain(value: Any) -> Any:
    """What JSON can hold of a setting."""
    return str(value) if isinstance(value, Path) else value


def _note(notes: "Console", line: str, style: str = "") -> None:
    from rich.text import Text

    from reports.plain_text import one_line

    notes.print(Text(one_line(line), style=style))


def _resume_command(folder: Path) -> str:
    """The command as it was typed, made to continue in the same folder."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    # With other models several runs are made, and their folders are found by what they are.
    named = any(re.match(r"-o|--(out|baseline|before)(=|$)", argument) for argument in arguments)
    out = [] if named else ["--out", str(folder)]
    return shlex.join(["evalkit", *arguments, *out, "--resume"])
