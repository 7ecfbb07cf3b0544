"""`evalkit run`: a plan of models and suites, resumable as a whole, ending in its reports; or tasks of lm-eval."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.lm_eval import FEWSHOT_SEED, INCLUDE_PATH, SAMPLES, SHOTS
from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, takes
from evalkit.cli.shared.suite_run import HAS_ERRORS, INTERRUPTED
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import ModelOptions, RunOptions
    from evalkit.running.plan import PlannedReport, PlannedRun, RunPlan

EXAMPLES = (
    "Examples: evalkit run olmo-hybrid-7b --dry-run · evalkit run my-plan.yaml --out runs/mine · "
    "evalkit run --suite lm-eval:arc_challenge,hellaswag --model ./my-checkpoint"
)
SUITES = ("ruler", "mmlu", "track", "extend", "loss")
"""Commands that run a suite, where this version has them."""


@takes(MODEL, RUN)
def run(
    plan: str | None = typer.Argument(
        None, metavar="[PLAN]", help="A .yaml file, or the name of a plan that comes with evalkit."
    ),
    suite: str | None = typer.Option(
        None, "--suite", help="Instead of a plan: lm-eval:TASKS, with tasks of lm-eval separated by commas."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder of a plan's runs and reports, runs/<plan> by default; or the run folder."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check the plan and print its commands, and run none."),
    baseline: str | None = options.BASELINE,
    shots: int | None = SHOTS,
    samples: int | None = SAMPLES,
    include_path: Path | None = INCLUDE_PATH,
    seed: int = FEWSHOT_SEED,
    *,
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Run every model of a plan on every suite of it, then write the reports that it names; or run tasks of lm-eval.

    A plan typed again goes on where it was stopped: finished runs are kept, a started one is resumed. The exit code is
    3 where samples errored, 1 where a gate of the plan failed. With --suite, tasks of lm-eval are a run like any
    other; the other options are of such a run.
    """
    from evalkit.cli.shared.lm_eval_suite import run_tasks, tasks_of

    if suite is None:
        raise typer.Exit(_run_plan(plan, run_options.passed, out, dry_run=dry_run))
    if plan is not None or dry_run:
        raise UsageError("--suite runs tasks and no plan; leave out the plan and --dry-run, or --suite")
    code = run_tasks(
        tasks_of(suite),
        {"shots": shots, "samples": samples, "include_path": include_path, "seed": seed},
        baseline,
        model_options,
        run_options,
    )
    raise typer.Exit(code)


def _run_plan(plan: str | None, passed: Mapping[str, Any], out: Path | None, *, dry_run: bool) -> int:
    from evalkit.running.plan import read_plan

    if plan is None:
        raise UsageError("neither a plan nor --suite is named; see `evalkit run --help`")
    others = [name for name in passed if name not in ("plan", "out", "dry_run")]
    if others:
        raise UsageError(
            f"--{others[0].replace('_', '-')} is an option of --suite; write it below a suite of the plan instead"
        )
    commands = _suite_commands()
    read = read_plan(plan, out, tuple(commands))
    for planned in read.runs:
        _check(planned, commands[planned.command])
    if not dry_run:
        return _carry_out(read, commands)
    for planned in read.runs:
        typer.echo(shlex.join(["evalkit", *planned.arguments]))
    return 0


def _suite_commands() -> dict[str, Any]:
    from evalkit.cli import app
    from evalkit.running.plan import LM_EVAL

    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # evalkit is a group
    return {**{name: known[name] for name in SUITES if name in known}, LM_EVAL: known["run"]}


def _check(planned: "PlannedRun", command: Any) -> None:
    """Refuse an option that the suite does not have before hours have gone into the runs before it."""
    try:
        command.make_context(f"evalkit {planned.suite}", list(planned.arguments[1:]))
    except typer.TyperException as error:
        raise UsageError(f"suite {planned.suite}: {error.format_message().rstrip('.')}") from None


def _carry_out(plan: "RunPlan", commands: dict[str, Any]) -> int:
    code = 0
    for number, planned in enumerate(plan.runs, start=1):
        print(f"run {number} of {len(plan.runs)}: {planned.model} on {planned.suite}", file=sys.stderr)
        if _is_finished(planned):
            print(f"finished before: {planned.folder}", file=sys.stderr)
            continue
        ended = commands[planned.command].main(
            [*planned.arguments[1:], "--resume"], prog_name=f"evalkit {planned.suite}", standalone_mode=False
        )
        if ended == INTERRUPTED:
            print("typed again, `evalkit run` goes on from here", file=sys.stderr)
            return INTERRUPTED
        code = max(code, ended or 0)
    gates = [_report(report, plan) for report in plan.reports]
    return code if code == HAS_ERRORS or all(gates) else 1


def _is_finished(planned: "PlannedRun") -> bool:
    """Whether the folder holds this very run, ended and without errors."""
    from evalkit.running.store import RUN, read_run

    if not (planned.folder / RUN).exists():
        return False
    record = read_run(planned.folder)
    return record.counts.get("errors") == 0 and record.config_passed == _passed(planned)


def _passed(planned: "PlannedRun") -> dict[str, Any]:
    """What the record of this run says was passed on the command line."""
    from evalkit.cli.shared.options import passed_options

    command = _suite_commands()[planned.command]
    context = command.make_context(f"evalkit {planned.suite}", [*planned.arguments[1:], "--resume"])
    return passed_options(context)


def _report(report: "PlannedReport", plan: "RunPlan") -> bool:
    """Write one report; False where it is a gate that failed."""
    match report.kind:
        case "compare":
            _compare(report)
        case "leaderboard":
            _leaderboard(report, plan)
        case "gate":
            return _gate(report)
    print(f"wrote {report.path}", file=sys.stderr)
    return True


def _compare(report: "PlannedReport") -> None:
    from evalkit.cli.compare import compare_folders
    from evalkit.cli.shared.pages import comparison_page
    from reports import markdown
    from reports.comparison_report import comparison_report

    compared = compare_folders(*_sides(report))
    if report.path.suffix == ".html":
        _write(report.path, comparison_page(compared, flips=20, prompts=20))
    else:
        _write(report.path, "\n".join(markdown.render(comparison_report(one.comparison)) for one in compared))


def _leaderboard(report: "PlannedReport", plan: "RunPlan") -> None:
    from evalkit.analysis.leaderboard import build_leaderboard, read_runs
    from evalkit.cli.leaderboard import format_of, render

    board = build_leaderboard(read_runs([planned.folder for planned in plan.runs]))
    _write(report.path, render(board, [], format_of(report.path)))


def _gate(report: "PlannedReport") -> bool:
    from evalkit.analysis.finished_run import load_runs
    from evalkit.analysis.gate import gate
    from evalkit.analysis.policy import load_policy
    from reports.gate_report import gate_report
    from reports.terminal import print_report, stdout_console

    base, new = _sides(report)
    result = gate(load_runs(base), load_runs(new), load_policy(report.path))
    print_report(stdout_console(), gate_report(result))
    return result.passed


def _sides(report: "PlannedReport") -> tuple[Path, Path]:
    if report.base is None or report.new is None:
        raise ValueError(f"a {report.kind} report has two sides")
    return report.base, report.new


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; all runs are stored") from None
