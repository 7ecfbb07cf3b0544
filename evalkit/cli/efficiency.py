"""`evalkit efficiency`: training tokens that one architecture needs to reach the scores of another."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from evalkit.cli.shared.options import ReportFormat
from evalkit.cli.shared.output import print_result, write_chart_files
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun

EXAMPLES = (
    "Example: evalkit efficiency history/hybrid --baseline history/transformer --metric ruler@4096 --figures charts"
)
_BASELINE = "--baseline"


class BaselineCommand(TyperCommand):
    """All paths that follow --baseline are the baseline's, as in `HYBRID… --baseline BASELINE…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread_baseline(args))


def spread_baseline(arguments: Sequence[str]) -> list[str]:
    """`--baseline a b` as `--baseline a --baseline b`, up to the next option."""
    spread: list[str] = []
    in_baseline = False
    for argument in arguments:
        if argument.startswith("-"):
            in_baseline = argument == _BASELINE
            spread.append(argument)
        else:
            if in_baseline and spread[-1] != _BASELINE:
                spread.append(_BASELINE)
            spread.append(argument)
    return spread


def efficiency(
    hybrid: list[Path] = typer.Argument(
        ..., metavar="HYBRID_RUNS…", help="Runs along the hybrid's training, or folders of them."
    ),
    baseline: list[Path] = typer.Option(
        ..., _BASELINE, metavar="RUNS…", help="Runs along the baseline's training: all paths that follow."
    ),
    metric: str = typer.Option(..., "--metric", help="Score to compare: mmlu, loss, ruler@65536, ruler/vt@4096 …"),
    extrapolate: bool = typer.Option(
        False,
        "--extrapolate",
        help="If the runs end before a score is reached, extrapolate with the scaling law, and mark the row.",
    ),
    format: ReportFormat = typer.Option(
        ReportFormat.TERMINAL, "--format", help="json prints everything that was computed."
    ),
    figures: Path | None = typer.Option(None, "--figures", help="Write the curves here, as PNG and SVG."),
) -> None:
    """Report how many training tokens the hybrid needs to reach each score of the baseline.

    Runs must know their checkpoint's training tokens (`tokens_seen`). Savings come with a bootstrap interval and, where
    there are points enough, with a fit of E + B / tokens^β.
    """
    from evalkit.analysis.efficiency import measure_efficiency
    from reports.efficiency_report import efficiency_chart, efficiency_report

    measured = measure_efficiency(_runs(hybrid, metric), _runs(baseline, metric), metric, extrapolate=extrapolate)
    print_result(format, measured, efficiency_report(measured))
    if figures is not None:
        write_chart_files([efficiency_chart(measured)], figures)


def _runs(paths: Sequence[Path], metric: str) -> "list[StoredRun]":
    """The runs of the metric's suite; UsageError if there is none."""
    from evalkit.analysis.finished_run import load_run, run_folders
    from evalkit.analysis.selectors import Selector

    suite = Selector.parse(metric).name
    loaded = [load_run(folder) for path in paths for folder in run_folders(path)]
    runs = [run for run in loaded if run.record.suite == suite]
    if not runs:
        suites = ", ".join(sorted({run.record.suite for run in loaded}))
        raise UsageError(f"--metric {metric}: {' '.join(map(str, paths))} hold no run of {suite}, only of {suites}")
    return runs
