"""`evalkit compare`: two runs, sample by sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared.options import Format, ReportFormat
from evalkit.cli.shared.output import print_result, write_chart_files
from evalkit.errors import IncompatibleRunError
from evalkit.files import plain_name

if TYPE_CHECKING:
    from evalkit.analysis.comparison import Comparison
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.analysis.pairing import Pairing

EXAMPLES = (
    "Examples: evalkit compare runs/ruler-base runs/ruler-new · "
    "evalkit compare runs/ruler-base runs/ruler-new --format html > comparison.html"
)

SCHEMA = "evalkit.comparisons/1"


class ComparisonFormat(StrEnum):
    """How a comparison is printed."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Compared:
    """Two runs of one suite, compared."""

    comparison: "Comparison"
    pairing: "Pairing | None"
    """None if they were not paired."""


def compare(
    base: Path = typer.Argument(..., metavar="BASE", help="A run folder, or a folder of runs of several suites."),
    new: Path = typer.Argument(..., metavar="NEW", help="The run or runs to hold against BASE."),
    unpaired: bool = typer.Option(
        False, "--unpaired", help="Compare runs whose samples differ. Less sensitive; the report says so."
    ),
    flips: int = typer.Option(20, "--flips", min=0, help="Changed samples to list, each way."),
    format: ComparisonFormat = typer.Option(
        ComparisonFormat.TERMINAL,
        "--format",
        help="json prints all that was computed, html a page with charts and samples.",
    ),
    figures: Path | None = typer.Option(None, "--figures", help="Write charts here, as PNG and SVG."),
) -> None:
    """Compare two runs, paired by sample: differences with intervals, p values, and the samples that changed.

    Runs with different questions are refused, naming what differs. Of a run that was stopped, the samples it has are
    compared, marked UNFINISHED. Times and memory are shown if the hardware was the same.
    """
    compared = compare_folders(base, new, unpaired=unpaired)
    if format is ComparisonFormat.HTML:
        from evalkit.cli.shared.pages import comparison_page

        print(comparison_page(compared, flips=flips), end="")
    else:
        show_compared(compared, ReportFormat(format), flips=flips)
    if figures is not None:
        _draw(compared, figures)


def compare_folders(base: Path, new: Path, *, unpaired: bool = False) -> list[Compared]:
    """One comparison per suite that both folders hold; IncompatibleRunError if there is none."""
    from evalkit.analysis.finished_run import load_runs
    from evalkit.cli.shared.stored_runs import open_whole_run

    return compare_runs(load_runs(base, open_whole_run), load_runs(new, open_whole_run), unpaired=unpaired)


def compare_runs(base: "Sequence[StoredRun]", new: "Sequence[StoredRun]", *, unpaired: bool = False) -> list[Compared]:
    """One comparison per suite that both sides have; IncompatibleRunError if there is none."""
    from evalkit.analysis.comparison import compare
    from evalkit.analysis.pairing import pair_runs
    from evalkit.analysis.unpaired_comparison import compare_unpaired

    sides = pair_suites(base, new)
    if unpaired:
        return [Compared(compare_unpaired(left, right), None) for left, right in sides]
    pairings = [pair_runs(left, right) for left, right in sides]
    return [Compared(compare(pairing), pairing) for pairing in pairings]


def pair_suites(base: "Sequence[StoredRun]", new: "Sequence[StoredRun]") -> "list[tuple[StoredRun, StoredRun]]":
    """The runs of both sides, suite by suite."""
    of_base = {run.record.suite: run for run in base}
    of_new = {run.record.suite: run for run in new}
    shared = [suite for suite in of_base if suite in of_new]
    if not shared:
        raise IncompatibleRunError(f"BASE has {', '.join(of_base)} and NEW has {', '.join(of_new)}: no suite in common")
    return [(of_base[suite], of_new[suite]) for suite in shared]


def show_compared(compared: Sequence[Compared], format: Format | ReportFormat, *, flips: int = 20) -> None:
    """Print comparisons on stdout."""
    from reports.comparison_report import comparison_report

    values = {"schema": SCHEMA, "comparisons": [one.comparison for one in compared]}
    print_result(format, values, *(comparison_report(one.comparison, flips=flips) for one in compared))


def _draw(compared: Sequence[Compared], folder: Path) -> None:
    from reports.run_charts import comparison_charts

    for one in compared:
        prefix = f"{plain_name(one.comparison.suite).replace('-', '_')}_" if len(compared) > 1 else ""
        write_chart_files(comparison_charts(one.comparison, one.pairing), folder, prefix)
