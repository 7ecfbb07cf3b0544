"""`evalkit gate`: judge a run by a policy; the exit code is the verdict."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit import files
from evalkit.cli.shared.hub_runs import HELP as HUB_HELP
from evalkit.cli.shared.hub_runs import run_path
from evalkit.cli.shared.options import ReportFormat
from evalkit.cli.shared.output import print_result
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.gate import GateResult

EXAMPLES = (
    "Examples: evalkit gate --init runs/ruler-base --policy gate.yaml · "
    "evalkit gate runs/ruler-base runs/ruler-new --policy gate.yaml --junit gate.xml · "
    "evalkit gate runs/ruler-base --explain gate.yaml --samples 100"
)
FAILED = 1
POLICY = Path("gate.yaml")
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


def gate(
    base: Path | None = typer.Argument(
        None, metavar="BASE", parser=run_path, help=f"The baseline: a run folder, or a folder of runs. {HUB_HELP}"
    ),
    new: Path | None = typer.Argument(None, metavar="NEW", parser=run_path, help="The run or runs to judge."),
    policy: Path | None = typer.Option(None, "--policy", help="The policy file.", show_default=str(POLICY)),
    init: bool = typer.Option(False, "--init", help="Write a commented policy for BASE to --policy, and exit."),
    explain: Path | None = typer.Option(
        None,
        "--explain",
        metavar="POLICY",
        help="Print what each rule of this policy can decide, and stop: with the rows of BASE, the spread between BASE "
        "and NEW, or without runs at the lengths that the policy names.",
    ),
    samples: int | None = typer.Option(
        None, "--samples", min=1, help="With --explain: samples per task and length.", show_default="those of BASE"
    ),
    changed: float | None = typer.Option(
        None,
        "--changed",
        min=0.01,
        max=100,
        help="With --explain and no NEW: percent of answers that differ between two equal runs.",
        show_default="10",
    ),
    format: ReportFormat = typer.Option(ReportFormat.TERMINAL, "--format", help="Format of the report on stdout."),
    markdown: Path | None = typer.Option(None, "--markdown", help="Write the report here, for a pull request."),
    junit: Path | None = typer.Option(None, "--junit", help="Write the checks here as JUnit XML."),
    github: bool = typer.Option(
        False, "--github", help="Print workflow annotations, and append the report to the step summary."
    ),
) -> None:
    """Judge NEW against BASE by a policy: exit 0 if it passes, 1 if a check fails, 2 if they cannot be compared.

    A drop fails only if its confidence interval lies above the limit, also after correction for all drops that the
    policy tests; the report states the probability that the policy fails a run without any true difference. Results
    that are missing, errored or unscored fail.
    """
    if explain is not None:
        judging = {"--init": init, "--policy": policy, "--markdown": markdown, "--junit": junit, "--github": github}
        _refuse(judging, "cannot be combined with --explain; leave one of them out")
        _explain(base, new, explain, samples, changed, format)
        return
    only_explaining = {"--samples": samples, "--changed": changed}
    _refuse(only_explaining, "is an option of --explain; add --explain POLICY, or leave it out")
    if base is None:
        raise UsageError("BASE is missing: name the baseline's run folder")
    if init:
        _write_policy(base, new, policy or POLICY)
        return
    if new is None:
        raise UsageError("NEW is missing: name the run to judge, or write a policy with --init")
    result = _gate(base, new, policy or POLICY)
    _report(result, format, markdown, junit, github=github)
    raise typer.Exit(0 if result.passed else FAILED)


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise UsageError for the first of `options` that was passed."""
    passed = next((option for option, value in options.items() if value), None)
    if passed is not None:
        raise UsageError(f"{passed} {why}")


def _gate(base: Path, new: Path, policy: Path) -> "GateResult":
    from evalkit.analysis.finished_run import load_runs
    from evalkit.analysis.gate import gate
    from evalkit.analysis.policy import load_policy

    rules = load_policy(policy)
    return gate(load_runs(base), load_runs(new), rules)


def _explain(
    base: Path | None,
    new: Path | None,
    policy: Path,
    samples: int | None,
    changed: float | None,
    format: ReportFormat,
) -> None:
    from evalkit.analysis.finished_run import load_runs
    from evalkit.analysis.gate_explain import CHANGED, explain
    from evalkit.analysis.policy import load_policy
    from evalkit.suite_spec import find_suite, suite_names
    from reports.gate_explanation import explanation_report

    if new is not None and changed is not None:
        raise UsageError("--changed is an assumption, and NEW shows how many answers change; leave one of them out")
    rules = load_policy(policy)
    named = {check.selector.name for check in rules.checks} & set(suite_names())
    explanation = explain(
        rules,
        [] if base is None else load_runs(base),
        [] if new is None else load_runs(new),
        samples=samples,
        changed=CHANGED if changed is None else changed / 100,
        suites={name: find_suite(name).tasks for name in named},
    )
    print_result(format, explanation, explanation_report(explanation))


def _report(
    result: "GateResult", format: ReportFormat, markdown: Path | None, junit: Path | None, *, github: bool
) -> None:
    """Write the files, then print: the reader of stdout may leave."""
    from reports.gate_report import gate_report
    from reports.github import render_annotations
    from reports.junit import render_junit
    from reports.markdown import render

    report = gate_report(result)
    if markdown is not None:
        _write(markdown, render(report))
    summary = os.environ.get(SUMMARY_VARIABLE)
    if github and summary:
        with files.writing(f"{SUMMARY_VARIABLE} {summary}"), open(summary, "a", encoding="utf-8") as file:
            file.write(render(report))
    if junit is not None:
        _write(junit, render_junit(result))
    print_result(format, result, report)
    if github:
        # GitHub's runner reads them from both streams, and JSON on stdout stays JSON.
        print(render_annotations(result), end="", file=sys.stderr if format is ReportFormat.JSON else sys.stdout)


def _write_policy(base: Path, new: Path | None, policy: Path) -> None:
    from evalkit.analysis.finished_run import load_runs
    from evalkit.analysis.gate_margins import first_rules
    from evalkit.analysis.policy import parse_policy
    from reports.policy_template import policy_template

    if new is not None:
        raise UsageError(f"--init writes a policy from BASE alone; leave {new} out")
    if policy.exists():
        raise UsageError(f"{policy} exists already; name another file with --policy")
    runs = load_runs(base)
    records = [run.record for run in runs]
    for record in records:
        empty = next((row for row in record.results if row.n == 0), None)
        if empty is not None:
            raise UsageError(
                f"{base}: no sample of {empty.task} at {empty.ctx} has a score, so it is not a baseline; run it again "
                "with --resume"
            )
    rules = first_rules(runs)
    text = policy_template(records, rules)
    try:
        parse_policy(text)
    except UsageError:
        needed = min((rule.samples_needed for rule in rules.values() if rule.samples_needed), default=None)
        more = "more samples" if needed is None else f"{needed:,} samples per task and length"
        raise UsageError(f"{base} has too few samples for any rule; make a baseline of {more}") from None
    _write(policy, text)
    typer.echo(f"wrote {policy}; judge a run with: evalkit gate {base} NEW --policy {policy}")


def _write(path: Path, text: str) -> None:
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
