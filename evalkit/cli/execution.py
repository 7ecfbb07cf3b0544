"""From a suite and a model to a stored, printed run: the part that every suite command shares."""

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from evalkit.protocols import Suite, Tokenizer
    from evalkit.records import RunRecord, SuitePlan
    from model_adapters.loading import LoadedModel

RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model is run, and how."""

    model: str
    device: str
    dtype: str
    segment_tokens: int | None
    batch_sequences: int | None
    trust_remote_code: bool


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


def execute(
    build: "Callable[[Tokenizer], Suite]",
    model_options: ModelOptions,
    run_options: RunOptions,
    *,
    settings: Mapping[str, Any],
    headline: str,
) -> int:
    """Run one suite on one model and return the exit code.

    `settings` are the suite's, completed by defaults; `seed` and `ctxs` must be among them. `headline` is the first
    line of output, printed before anything is loaded.
    """
    from rich.console import Console

    from evalkit.run_store import RunStore
    from evalkit.runner import RunSettings, run
    from model_adapters.transformers_adapter import TransformersAdapter
    from reports import markdown, terminal

    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    notes.print(headline, markup=False)
    loaded = _load(model_options)
    suite = build(loaded.tokenizer)
    plan = suite.plan()
    warnings = _warnings(loaded, settings["ctxs"])
    folder = _folder(suite, plan, loaded, run_options, settings)
    _describe(notes, loaded, warnings, folder)
    adapter = TransformersAdapter(
        loaded.model,
        loaded.tokenizer,
        loaded.identity,
        segment_tokens=model_options.segment_tokens,
        batch_sequences=model_options.batch_sequences,
    )
    run_settings = RunSettings(
        seed=settings["seed"],
        config={**settings, **asdict(model_options)},
        config_passed=dict(run_options.passed),
        warnings=warnings,
        started_at=run_options.started_at,
        tokens_seen=loaded.tokens_seen,
    )
    with RunStore.open(folder, _manifest(suite, plan, loaded, settings["seed"]), resume=run_options.resume) as store:
        try:
            with terminal.ProgressBar(notes) as progress:
                record = run(suite, adapter, store, run_settings, progress)
        except KeyboardInterrupt:
            notes.print(f"\nstopped; continue with: {_resume_command(folder)}", markup=False)
            return 130
        store.finish(record, markdown.render_run(record))
    show_record(record, run_options.format)
    notes.print(f"stored in {folder}", markup=False)
    return 3 if record.counts["errors"] else 0


def show_record(record: "RunRecord", format: options.Format) -> None:
    """Print a run on stdout: tables for people, or the record itself as JSON."""
    if format is options.Format.JSON:
        from evalkit.serialization import to_json

        print(to_json(record, indent=2))
        return
    from rich.console import Console

    from reports.terminal import print_run

    print_run(Console(highlight=False), record)


def _load(model_options: ModelOptions) -> "LoadedModel":
    from model_adapters.loading import load_model

    return load_model(
        model_options.model,
        device=model_options.device,
        dtype=model_options.dtype,
        trust_remote_code=model_options.trust_remote_code,
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
    return tuple(warnings)


def _folder(
    suite: "Suite",
    plan: "SuitePlan",
    loaded: "LoadedModel",
    run_options: RunOptions,
    settings: Mapping[str, Any],
) -> Path:
    """--out, or runs/<suite>-<model>-<digest of all that decides the samples and answers>."""
    from evalkit.run_store import numbered_folder

    if run_options.out is not None:
        return run_options.out
    manifest = asdict(_manifest(suite, plan, loaded, settings["seed"]))
    asked = [key.id for key in plan.keys]
    digest = hashlib.sha256(json.dumps([manifest, asked], sort_keys=True).encode()).hexdigest()[:8]
    model = re.sub(r"[^A-Za-z0-9.]+", "-", loaded.identity.path).strip("-.")[-40:]
    return numbered_folder(RUNS, f"{suite.name}-{model}-{digest}", resume=run_options.resume)


def _manifest(suite: "Suite", plan: "SuitePlan", loaded: "LoadedModel", seed: int) -> Any:
    from evalkit.run_store import Manifest

    return Manifest.of(
        suite=suite.name,
        version=suite.version,
        dialect=suite.dialect,
        seed=seed,
        identity=loaded.identity,
        corpora=plan.corpora,
    )


def _describe(notes: "Console", loaded: "LoadedModel", warnings: tuple[str, ...], folder: Path) -> None:
    from reports.run_report import describe_model

    notes.print(f"model: {describe_model(loaded.identity)}", markup=False)
    notes.print(f"positions: {loaded.identity.positions.description}", markup=False)
    for warning in warnings:
        notes.print(f"warning: {warning}", markup=False, style="yellow")
    notes.print(f"run folder: {folder}", markup=False)


def _resume_command(folder: Path) -> str:
    """The command as it was typed, made to continue in the same folder."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    named = any(argument in ("--out", "-o") or argument.startswith("--out=") for argument in arguments)
    out = [] if named else ["--out", str(folder)]
    return shlex.join(["evalkit", *arguments, *out, "--resume"])
