"""`evalkit efficiency`: scores over training tokens, and the tokens that one architecture needs for another's."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from evalkit.cli.shared.options import PageFormat, ReportFormat
from evalkit.cli.shared.output import print_result, write_chart_files
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from reports.charts import Chart
    from reports.report import Report

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
        ..., metavar="RUNS…", help="Runs along the (hybrid's) training, or folders of them."
    ),
    baseline: list[Path] | None = typer.Option(
        None,
        _BASELINE,
        metavar="RUNS…",
        help="Runs along the baseline's training: all paths that follow. Without it one training run is shown.",
    ),
    metric: str = typer.Option(..., "--metric", help="Score to compare: mmlu, loss, ruler@65536, ruler/vt@4096 …"),
    extrapolate: bool = typer.Option(
        False,
        "--extrapolate",
        help="If the runs end before a score is reached, extrapolate with the scaling law, and mark the row.",
    ),
    format: PageFormat = typer.Option(
        PageFormat.TERMINAL, "--format", help="json prints everything that was computed, html a page with the curves."
    ),
    figures: Path | None = typer.Option(None, "--figures", help="Write the curves here, as PNG and SVG."),
) -> None:
    """Report how many training tokens the hybrid needs to reach each score of the baseline.

    Without --baseline the scores of one training run are shown by tokens. Runs must know their checkpoint's training
    tokens (`tokens_seen`). Savings have a 95 % interval in steps of checkpoints, which are compared with the baseline's
    on the same questions, and a fit of E + B / tokens^β if there are enough points.
    """
    from evalkit.analysis.efficiency import follow_training, measure_efficiency
    from reports.efficiency_report import efficiency_chart, efficiency_report, training_chart, training_report

    runs = _runs(hybrid, metric)
    if baseline:
        measured = measure_efficiency(runs, _runs(baseline, metric), metric, extrapolate=extrapolate)
        _show(measured, efficiency_report(measured), efficiency_chart(measured), format, figures)
    elif extrapolate:
        raise UsageError("--extrapolate has a meaning only with --baseline; name the baseline's runs")
    else:
        training = follow_training(runs, metric)
        _show(training, training_report(training), training_chart(training), format, figures)


def _show(values: object, report: "Report", chart: "Chart", format: PageFormat, figures: Path | None) -> None:
    from reports.page import Page, render_page

    if format is PageFormat.HTML:
        print(render_page(Page(report, (chart,))), end="")
    else:
        print_result(ReportFormat(format), values, report)
    if figures is not None:
        write_chart_files([chart], figures)


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
