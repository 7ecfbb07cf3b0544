"""`evalkit gate`: a run held against a policy; the exit code is the verdict."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.compare import ReportFormat
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.gate import GateResult

EXAMPLES = (
    "Examples: evalkit gate --init runs/ruler-base --policy gate.yaml · "
    "evalkit gate runs/ruler-base runs/ruler-new --policy gate.yaml --junit gate.xml"
)
FAILED = 1
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


def gate(
    base: Path = typer.Argument(..., metavar="BASE", help="The baseline: a run folder, or a folder of runs."),
    new: Path | None = typer.Argument(None, metavar="NEW", help="The run or runs to judge."),
    policy: Path = typer.Option(Path("gate.yaml"), "--policy", help="The policy file."),
    init: bool = typer.Option(False, "--init", help="Write a commented policy for BASE to --policy, and stop."),
    format: ReportFormat = typer.Option(ReportFormat.TERMINAL, "--format", help="What is printed on stdout."),
    markdown: Path | None = typer.Option(None, "--markdown", help="Write the report here, for a pull request."),
    junit: Path | None = typer.Option(None, "--junit", help="Write the checks here as JUnit XML."),
    github: bool = typer.Option(
        False, "--github", help="Print workflow annotations, and append the report to the step summary."
    ),
) -> None:
    """Judge NEW against BASE by a policy: exit 0 if it holds, 1 if a check fails, 2 if they cannot be compared.

    Drops are judged by the interval of the paired difference, so a gate does not fail on noise; where the samples
    cannot decide, it says how many more would.
    """
    if init:
        _write_policy(base, new, policy)
        return
    if new is None:
        raise UsageError("NEW is missing: name the run to judge, or write a policy with --init")
    result = _gate(base, new, policy)
    _print(result, format, github=github)
    if markdown is not None or github:
        _write_markdown(result, markdown, github=github)
    if junit is not None:
        from reports.junit import render_junit

        _write(junit, render_junit(result))
    raise typer.Exit(0 if result.passed else FAILED)


def _gate(base: Path, new: Path, policy: Path) -> "GateResult":
    from evalkit.analysis.finished_run import load_runs
    from evalkit.analysis.gate import gate
    from evalkit.analysis.policy import load_policy

    rules = load_policy(policy)
    return gate(load_runs(base), load_runs(new), rules)


def _print(result: "GateResult", format: ReportFormat, *, github: bool) -> None:
    from reports import markdown, terminal
    from reports.gate_report import gate_report

    match format:
        case ReportFormat.JSON:
            from evalkit.records.codec import to_json

            print(to_json(result, indent=2))
        case ReportFormat.MARKDOWN:
            print(markdown.render(gate_report(result)), end="")
        case ReportFormat.TERMINAL:
            terminal.print_report(terminal.stdout_console(), gate_report(result))
    if github:
        from reports.github import render_annotations

        # The runner reads them from both streams, and JSON on stdout stays JSON.
        print(render_annotations(result), end="", file=sys.stderr if format is ReportFormat.JSON else sys.stdout)


def _write_markdown(result: "GateResult", path: Path | None, *, github: bool) -> None:
    from reports import markdown
    from reports.gate_report import gate_report

    text = markdown.render(gate_report(result))
    if path is not None:
        _write(path, text)
    summary = os.environ.get(SUMMARY_VARIABLE)
    if github and summary:
        try:
            with open(summary, "a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(f"{SUMMARY_VARIABLE} {summary} cannot be written: {error.strerror}") from None


def _write_policy(base: Path, new: Path | None, policy: Path) -> None:
    from evalkit.analysis.finished_run import load_runs
    from reports.policy_template import policy_template

    if new is not None:
        raise UsageError(f"--init writes a policy from BASE alone; leave {new} out")
    if policy.exists():
        raise UsageError(f"{policy} is there already; name another file with --policy")
    _write(policy, policy_template([run.record for run in load_runs(base)]))
    typer.echo(f"wrote {policy}; judge a run with: evalkit gate {base} NEW --policy {policy}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
