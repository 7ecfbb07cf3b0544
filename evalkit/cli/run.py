"""`evalkit run`: a plan of models and suites, resumable as a whole, ending in its reports."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.execution import HAS_ERRORS, INTERRUPTED
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.run_plan import PlannedReport, PlannedRun, RunPlan

EXAMPLES = "Examples: evalkit run olmo-hybrid-7b --dry-run · evalkit run my-plan.yaml --out runs/mine"
SUITES = ("ruler", "mmlu", "track", "extend", "loss")
"""Commands that run a suite, where this version has them."""


def run(
    plan: str = typer.Argument(
        ..., metavar="PLAN", help="A .yaml file, or the name of a plan that comes with evalkit."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder of all runs and reports; runs/<plan> by default."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check the plan and print its commands, and run none."),
) -> None:
    """Run every model of a plan on every suite of it, then write the reports that it names.

    Typed again, it goes on where it was stopped: finished runs are kept, a started one is resumed. The exit code is 3
    where samples errored, 1 where a gate of the plan failed.
    """
    from evalkit.run_plan import read_plan

    commands = _suite_commands()
    read = read_plan(plan, out, tuple(commands))
    for planned in read.runs:
        _check(planned, commands[planned.suite])
    if dry_run:
        for planned in read.runs:
            typer.echo(shlex.join(["evalkit", *planned.arguments]))
        return
    raise typer.Exit(_carry_out(read, commands))


def _suite_commands() -> dict[str, Any]:
    from evalkit.cli import app

    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # evalkit is a group
    return {name: known[name] for name in SUITES if name in known}


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
        ended = commands[planned.suite].main(
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
    from evalkit.run_store import RUN, read_run

    if not (planned.folder / RUN).exists():
        return False
    record = read_run(planned.folder)
    return record.counts.get("errors") == 0 and record.config_passed == _passed(planned)


def _passed(planned: "PlannedRun") -> dict[str, Any]:
    """What the record of this run says was passed on the command line."""
    from evalkit.cli.options import passed_options

    command = _suite_commands()[planned.suite]
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
    from evalkit.cli.pages import comparison_page
    from reports import markdown
    from reports.comparison_report import comparison_report

    compared = compare_folders(*_sides(report))
    if report.path.suffix == ".html":
        _write(report.path, comparison_page(compared, flips=20, prompts=20))
    else:
        _write(report.path, "\n".join(markdown.render(comparison_report(one.comparison)) for one in compared))


def _leaderboard(report: "PlannedReport", plan: "RunPlan") -> None:
    from evalkit.cli.leaderboard import format_of, render
    from evalkit.leaderboard import build_leaderboard, read_records

    board = build_leaderboard(read_records([planned.folder for planned in plan.runs]))
    _write(report.path, render(board, [], format_of(report.path)))


def _gate(report: "PlannedReport") -> bool:
    from evalkit.gate import gate
    from evalkit.policy import load_policy
    from evalkit.stored_run import load_runs
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
