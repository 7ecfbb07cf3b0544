"""`evalkit compare`: runs against a baseline, sample by sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared.options import Format, PageFormat, ReportFormat
from evalkit.cli.shared.output import print_result, write_chart_files
from evalkit.errors import IncompatibleRunError
from evalkit.files import plain_name

if TYPE_CHECKING:
    from evalkit.analysis.compared_runs import ComparedRuns
    from evalkit.analysis.finished_run import StoredRun

EXAMPLES = (
    "Examples: evalkit compare runs/ruler-base runs/ruler-new · "
    "evalkit compare runs/ruler-base runs/a runs/b --format html > comparison.html"
)

SCHEMA = "evalkit.comparisons/1"


def compare(
    base: Path = typer.Argument(..., metavar="BASE", help="A run folder, or a folder of runs of several suites."),
    new: list[Path] = typer.Argument(..., metavar="NEW…", help="The runs to compare with BASE, or folders of them."),
    unpaired: bool = typer.Option(
        False, "--unpaired", help="Compare runs whose samples differ. Less sensitive; the report says so."
    ),
    flips: int = typer.Option(20, "--flips", min=0, help="Changed samples to list, each way."),
    format: PageFormat = typer.Option(
        PageFormat.TERMINAL,
        "--format",
        help="json prints all that was computed, html a page with charts and samples.",
    ),
    figures: Path | None = typer.Option(None, "--figures", help="Write charts here, as PNG and SVG."),
) -> None:
    """Compare runs with BASE, paired by sample: differences with intervals, p values, and the samples that changed.

    Runs with different questions are refused, naming what differs. Of a run that was stopped, the samples it has are
    compared, marked UNFINISHED. Times and memory are shown if the hardware was the same.
    """
    compared = compare_folders(base, new, unpaired=unpaired)
    if format is PageFormat.HTML:
        from evalkit.cli.shared.pages import comparison_page

        print(comparison_page(compared, flips=flips), end="")
    else:
        show_compared(compared, ReportFormat(format), flips=flips)
    if figures is not None:
        _draw(compared, figures)


def compare_folders(base: Path, new: Sequence[Path], *, unpaired: bool = False) -> "list[ComparedRuns]":
    """The comparisons of each suite that all folders hold; IncompatibleRunError if there is none."""
    from evalkit.analysis.finished_run import load_runs
    from evalkit.cli.shared.stored_runs import open_whole_run

    of_base, *others = (load_runs(path, open_whole_run) for path in (base, *new))
    return compare_runs(of_base, others, unpaired=unpaired)


def compare_runs(
    base: "Sequence[StoredRun]", others: "Sequence[Sequence[StoredRun]]", *, unpaired: bool = False
) -> "list[ComparedRuns]":
    """The comparisons of each suite that all sides have; IncompatibleRunError if there is none."""
    from evalkit.analysis.compared_runs import compare_with_base

    sides = [{run.record.suite: run for run in runs} for runs in (base, *others)]
    shared = [suite for suite in sides[0] if all(suite in side for side in sides)]
    if not shared:
        names = ["BASE", "NEW"] if len(sides) == 2 else ["BASE", *(f"NEW {place}" for place in range(1, len(sides)))]
        listed = " and ".join(f"{name} has {', '.join(side)}" for name, side in zip(names, sides, strict=True))
        raise IncompatibleRunError(f"{listed}: no suite in common")
    return [
        compare_with_base(sides[0][suite], [side[suite] for side in sides[1:]], unpaired=unpaired) for suite in shared
    ]


def show_compared(compared: "Sequence[ComparedRuns]", format: Format | ReportFormat, *, flips: int = 20) -> None:
    """Print comparisons on stdout."""
    from reports.comparison_report import comparison_report

    values = {"schema": SCHEMA, "comparisons": [comparison for one in compared for comparison in one.comparisons]}
    print_result(format, values, *(comparison_report(*one.comparisons, flips=flips) for one in compared))


def _draw(compared: "Sequence[ComparedRuns]", folder: Path) -> None:
    from reports.run_charts import comparison_charts

    for one in compared:
        prefix = f"{plain_name(one.comparisons[0].suite).replace('-', '_')}_" if len(compared) > 1 else ""
        write_chart_files(comparison_charts(one), folder, prefix)
