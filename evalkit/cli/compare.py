"""`evalkit compare`: two runs, sample by sample."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.errors import IncompatibleRunError

if TYPE_CHECKING:
    from evalkit.compare import Comparison
    from evalkit.stored_run import StoredRun

EXAMPLES = (
    "Examples: evalkit compare runs/ruler-base runs/ruler-new · "
    "evalkit compare runs/ruler-base runs/ruler-new --format markdown > comment.md"
)

SCHEMA = "evalkit.comparisons/1"


class ReportFormat(StrEnum):
    """How a report is printed."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"


def compare(
    base: Path = typer.Argument(..., metavar="BASE", help="A run folder, or a folder of runs of several suites."),
    new: Path = typer.Argument(..., metavar="NEW", help="The run or runs to hold against BASE."),
    unpaired: bool = typer.Option(
        False, "--unpaired", help="Compare what asked different questions; weaker, and said to be."
    ),
    flips: int = typer.Option(20, "--flips", min=0, help="Changed samples to list, each way."),
    format: ReportFormat = typer.Option(ReportFormat.TERMINAL, "--format", help="json prints all that was computed."),
) -> None:
    """Compare two runs, paired by sample: differences with intervals, p values, and the samples that changed.

    Runs that asked different things are refused, naming what differs. Times and memory stand beside the scores where
    the hardware was the same.
    """
    show_comparisons(compare_folders(base, new, unpaired=unpaired), format, flips)


def compare_folders(base: Path, new: Path, *, unpaired: bool = False) -> "list[Comparison]":
    """One comparison for each suite that both hold; IncompatibleRunError where there is none."""
    from evalkit.compare import compare
    from evalkit.compare_unpaired import compare_unpaired
    from evalkit.pairing import pair_runs

    sides = pair_suites(base, new)
    if unpaired:
        return [compare_unpaired(left, right) for left, right in sides]
    return [compare(pair_runs(left, right)) for left, right in sides]


def pair_suites(base: Path, new: Path) -> "list[tuple[StoredRun, StoredRun]]":
    """The runs of both sides, suite by suite."""
    from evalkit.stored_run import load_runs

    of_base = {run.record.suite: run for run in load_runs(base)}
    of_new = {run.record.suite: run for run in load_runs(new)}
    shared = [suite for suite in of_base if suite in of_new]
    if not shared:
        raise IncompatibleRunError(
            f"{base} holds {', '.join(of_base)} and {new} holds {', '.join(of_new)}: no suite is in both"
        )
    return [(of_base[suite], of_new[suite]) for suite in shared]


def show_comparisons(comparisons: "list[Comparison]", format: ReportFormat, flips: int) -> None:
    """Print comparisons on stdout."""
    from reports import markdown, terminal
    from reports.comparison_report import comparison_report

    if format is ReportFormat.JSON:
        import json

        from evalkit.serialization import to_json

        listed = [json.loads(to_json(comparison)) for comparison in comparisons]
        print(json.dumps({"schema": SCHEMA, "comparisons": listed}, indent=2))
        return
    reports = [comparison_report(comparison, flips=flips) for comparison in comparisons]
    if format is ReportFormat.MARKDOWN:
        print("\n".join(markdown.render(report) for report in reports), end="")
        return
    for report in reports:
        terminal.print_report(terminal.stdout_console(), report)
