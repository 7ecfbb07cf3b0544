"""Execution of a plan: its runs one after another, even if some fail, then its reports."""

import json
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import files
from evalkit.cli.shared.options import Format
from evalkit.cli.shared.suite_command import run_all
from evalkit.cli.shared.suite_run import (
    CHECK_FAILED,
    HAS_ERRORS,
    INTERNAL_ERROR,
    INTERRUPTED,
    Finished,
    RunOptions,
    engine_options,
    note,
    notes_console,
    record_config,
    set_aside,
    show_finished,
)
from evalkit.errors import EvalkitError, UsageError
from evalkit.records import Shard
from evalkit.running.environment import describe_environment
from evalkit.running.model_options import ModelOptions
from evalkit.running.plan import PlannedReport, PlannedRun, RunPlan
from evalkit.running.store import RUN
from evalkit.suite_spec import Reader, SuiteSpec, readable_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import Environment, RunRecord
    from model_adapters.keeping import ModelKeeper

FAILED = EvalkitError.exit_code
COMPARISONS = (".md", ".html")
GPU = "GPU"
ENGINE_LIBRARIES = ("torch", "transformers", "tokenizers", "triton")


@dataclass(slots=True)
class PlanOutcome:
    """The outcome of a plan so far."""

    runs: dict[tuple[str, str], "StoredRun"] = field(default_factory=dict)
    """Runs by the model's name in the plan, and by suite."""
    missing: list[str] = field(default_factory=list)
    """Runs that failed, each with the reason; every report shows them."""
    codes: set[int] = field(default_factory=set)

    def of(self, model: str | None) -> "list[StoredRun]":
        return [run for (name, _), run in self.runs.items() if name == model]

    @property
    def exit_code(self) -> int:
        return next((code for code in (INTERNAL_ERROR, FAILED, HAS_ERRORS, CHECK_FAILED) if code in self.codes), 0)


def check(plan: RunPlan) -> None:
    """Raise UsageError for models, devices, tasks, questions, policies and report files that cannot be used."""
    from evalkit.analysis.policy import load_policy
    from evalkit.cli.leaderboard import format_of
    from model_adapters.opening import check_options

    for options, replicas in {(options, planned.replicas) for planned in plan.runs for options in _models(planned)}:
        check_options(options, replicas)
    check_questions(plan)
    for report in plan.reports:
        if report.kind == "gate":
            load_policy(report.path)
        elif report.kind == "leaderboard":
            format_of(report.path)
        elif report.path.suffix not in COMPARISONS:
            raise UsageError(
                f"{report.path}: a comparison is written as {' or '.join(COMPARISONS)}; choose one of them"
            )


def check_questions(plan: RunPlan) -> None:
    """Raise UsageError for names of tasks and files of questions and texts that the plan cannot use."""
    for planned in {id(planned.settings): planned for planned in plan.runs}.values():  # models share their settings
        if planned.spec.check_inputs is not None:
            planned.spec.check_inputs(planned.settings)


def _models(planned: PlannedRun) -> Iterator[ModelOptions]:
    """The options of a run's model, and of those that run before it."""
    yield planned.options
    for model, _ in planned.spec.runs_first(planned.settings).values():
        yield planned.options.of_other(model)


def describe(planned: PlannedRun) -> str:
    """A run in one line, for --dry-run."""
    values = "; ".join(f"{name} {_shown(value)}" for name, value in planned.passed.items() if name != "model")
    return f"{planned.name}{f' ({values})' if values else ''}: {planned.folder}"


def carry_out(plan: RunPlan) -> int:
    """Run what is not finished, then write the reports of all runs; returns the exit code."""
    from model_adapters.keeping import ModelKeeper

    notes, outcome = notes_console(), PlanOutcome()
    try:
        with closing(ModelKeeper()) as keeper:
            for number, planned in enumerate(plan.runs, start=1):
                note(notes, f"run {number} of {len(plan.runs)}: {planned.name}")
                run_planned(planned, plan, outcome, notes, keeper)
        for report in plan.reports if plan.shard is None else ():
            write_report(report, outcome, notes)
    except KeyboardInterrupt:
        note(notes, f"stopped; continue with: {shlex.join(['evalkit', *sys.argv[1:]])}")
        return INTERRUPTED
    for missing in outcome.missing:
        note(notes, f"failed: {missing}", style="red")
    if plan.shard is not None:
        note(notes, f"{plan.shard.label} is in {plan.folder}; merge all shards, then run the plan for its reports")
    return outcome.exit_code


def run_planned(
    planned: PlannedRun, plan: RunPlan, outcome: PlanOutcome, notes: "Console", keeper: "ModelKeeper"
) -> None:
    """One run of the plan; a failure is reported at the end, and the other runs go on.

    A model stays loaded in `keeper` for the next run on it, unless the run fails.
    """
    from evalkit.analysis.finished_run import SUPERSEDED

    superseded = plan.folder / SUPERSEDED
    try:
        finished = _finished(planned, plan.shard, superseded, notes)
        if finished is not None:
            note(notes, f"finished before: {planned.folder}")
            outcome.codes.add(Finished(finished).exit_code)
        else:
            run_options = RunOptions(
                out=planned.folder,
                resume=True,
                format=Format.TERMINAL,
                passed=planned.passed,
                started_at=time.perf_counter(),
                superseded=superseded,
                shard=plan.shard,
                replicas=planned.replicas,
                keeper=keeper,
            )
            made = run_all(planned.spec, planned.settings, planned.options, run_options)[""]
            outcome.codes.add(show_finished(made, Format.TERMINAL))
            finished = made.run
        outcome.runs[planned.model, planned.spec.name] = finished
        return
    except EvalkitError as error:
        outcome.codes.add(FAILED)
        outcome.missing.append(f"{planned.name}: {error}")
        note(notes, outcome.missing[-1], style="red")
    except Exception as error:  # noqa: BLE001  # a bug in one run must not cost the others
        traceback.print_exc()
        outcome.codes.add(INTERNAL_ERROR)
        outcome.missing.append(f"{planned.name}: internal error, {type(error).__name__}: {error}")
    keeper.close()


def _finished(planned: PlannedRun, shard: Shard | None, superseded: Path, notes: "Console") -> "StoredRun | None":
    """The run in the planned folder if it is finished, without errors, and still what the plan requests.

    A run that is damaged or was made by another engine is moved to `superseded`: resuming would keep it.
    """
    from evalkit.analysis.finished_run import load_run, load_run_or_shard

    if not (planned.folder / RUN).exists():
        return None
    try:
        run = (load_run if shard is None else load_run_or_shard)(planned.folder)
        reason = _other_engine(run.record, replicated=planned.replicas is not None)
    except EvalkitError as error:
        reason = str(error)
    if reason is not None:
        note(notes, f"{reason}: the old run is kept as {set_aside(planned.folder, superseded)}")
        return None
    wanted = {"": (planned.options, planned.settings)}
    for role, (model, asked) in planned.spec.runs_first(planned.settings).items():
        wanted[role] = (planned.options.of_other(model), asked)
    stored, named = run.record.shard, shard and shard.name
    current = (stored and stored.name) == named and all(
        _is_current(planned.spec, settings, options, planned.folder / role)
        for role, (options, settings) in wanted.items()
    )
    return run if current else None


def _is_current(spec: SuiteSpec[Any], settings: Any, options: ModelOptions, folder: Path) -> bool:
    """Whether settings, weights, tokenizer, suite and corpora of the run in `folder` are the present ones."""
    from evalkit.running.store import read_run
    from model_adapters.opening import fingerprints, open_tokenizer

    record = read_run(folder)
    config = json.loads(json.dumps(record_config(settings, engine_options(spec, options))))
    if record.counts.errors or any(record.config.get(name) != value for name, value in config.items()):
        return False
    if fingerprints(options) != (record.model.fingerprint, record.model.tokenizer):
        return False
    reader = Reader(open_tokenizer(options), readable_tokens(record.model), options.chat_options)
    if reader.prompts().template_sha256 != record.model.chat_template:
        return False
    suite = spec.build(settings, reader)
    corpora = {(corpus.role, corpus.name, corpus.sha256) for corpus in suite.plan().corpora}
    return (suite.version, suite.dialect, corpora) == (
        record.suite_version,
        record.dialect,
        {(corpus.role, corpus.name, corpus.sha256) for corpus in record.corpora},
    )


def _other_engine(record: "RunRecord", *, replicated: bool) -> str | None:
    """How the software or GPU of a record differs from the present one; the GPUs of replicas are not known here."""
    then, now = _engine(record.environment), _engine(describe_environment())
    names = [name for name in now if name != GPU or not replicated]
    changed = [f"{name} {then[name]} -> {now[name]}" for name in names if then[name] != now[name]]
    return f"it was made with {', '.join(changed)}" if changed else None


def _engine(environment: "Environment") -> dict[str, str | None]:
    versions = {name: environment.libraries.get(name) for name in ENGINE_LIBRARIES}
    return {"evalkit": environment.evalkit, **versions, GPU: environment.gpu.name if environment.gpu else None}


def write_report(report: PlannedReport, outcome: PlanOutcome, notes: "Console") -> None:
    """Write one report, which names the runs that failed."""
    notices = tuple(f"MISSING: {missing}" for missing in outcome.missing)
    try:
        match report.kind:
            case "compare":
                _compare(report, outcome, notices)
            case "leaderboard":
                _leaderboard(report, outcome, notices)
            case "gate":
                outcome.codes.add(_gate(report, outcome, notices))
                return
        note(notes, f"wrote {report.path}")
    except EvalkitError as error:
        outcome.codes.add(FAILED)
        outcome.missing.append(f"report {report.kind} {report.path}: {error}")


def _compare(report: PlannedReport, outcome: PlanOutcome, notices: Sequence[str]) -> None:
    from evalkit.cli.compare import compare_runs
    from evalkit.cli.shared.pages import comparison_page
    from reports import markdown
    from reports.comparison_report import comparison_report

    base, new = _sides(report, outcome)
    compared = compare_runs(base, [new])
    if report.path.suffix == ".html":
        write_text(report.path, comparison_page(compared, flips=20, notices=notices))
        return
    reports = [comparison_report(*one.comparisons) for one in compared]
    reports[0] = replace(reports[0], notices=(*notices, *reports[0].notices))
    write_text(report.path, "\n".join(markdown.render(one) for one in reports))


def _leaderboard(report: PlannedReport, outcome: PlanOutcome, notices: Sequence[str]) -> None:
    from evalkit.analysis.board_runs import BoardRun
    from evalkit.analysis.finished_run import load_run
    from evalkit.analysis.leaderboard import build_leaderboard
    from evalkit.cli.leaderboard import format_of, render

    if not outcome.runs:
        raise UsageError("no run was finished")
    board = build_leaderboard(
        [BoardRun(run.record, str(run.folder), partial(load_run, run.folder)) for run in outcome.runs.values()]
    )
    write_text(report.path, render(board, [], format_of(report.path), notices))


def _gate(report: PlannedReport, outcome: PlanOutcome, notices: Sequence[str]) -> int:
    from evalkit.analysis.gate import gate
    from evalkit.analysis.policy import load_policy
    from reports import markdown
    from reports.gate_report import gate_report
    from reports.terminal import print_report, stdout_console

    base, new = _sides(report, outcome)
    result = gate(base, new, load_policy(report.path))
    shown = gate_report(result)
    shown = replace(shown, notices=(*notices, *shown.notices))
    print_report(stdout_console(), shown)
    if report.written is not None:
        write_text(report.written, markdown.render(shown))
    return 0 if result.passed else CHECK_FAILED


def _sides(report: PlannedReport, outcome: PlanOutcome) -> "tuple[list[StoredRun], list[StoredRun]]":
    """The runs of BASE and NEW, ordered by suite; UsageError if one of them has none."""
    sides = outcome.of(report.base), outcome.of(report.new)
    for model, runs in zip((report.base, report.new), sides, strict=True):
        if not runs:
            raise UsageError(f"{model} has no run")
    base, new = (sorted(runs, key=lambda run: run.record.suite) for runs in sides)
    return base, new


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def write_text(path: Path, text: str) -> None:
    """Write a report; UsageError if it cannot be written."""
    with files.writing(path, "all runs are stored"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
