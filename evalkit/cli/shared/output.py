"""Output of commands: results on stdout in the requested format, and chart files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.shared.options import Format, ReportFormat

if TYPE_CHECKING:
    from reports.charts import Chart
    from reports.report import Report


def print_result(format: Format | ReportFormat, values: Any, *reports: "Report") -> None:
    """Print `values` (records, or lists and dictionaries of them) as JSON, or `reports` for people."""
    if format.value == Format.JSON:
        from evalkit.records.codec import to_json

        print(to_json(values, indent=2))
    elif format.value == ReportFormat.MARKDOWN:
        from reports.markdown import render

        print("\n".join(render(report) for report in reports), end="")
    else:
        from reports.terminal import print_report, stdout_console

        for report in reports:
            print_report(stdout_console(), report)


def write_chart_files(charts: Sequence["Chart"], folder: Path, prefix: str = "") -> None:
    """Draw charts into `folder`, with a note for each file; UsageError if it cannot be written."""
    from reports.chart_files import write_charts

    for file in write_charts(charts, folder, prefix):
        typer.echo(f"wrote {file}", err=True)
