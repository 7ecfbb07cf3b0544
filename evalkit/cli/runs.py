"""`evalkit runs`: a list of the runs in a folder."""

from pathlib import Path

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.output import print_result

EXAMPLES = "Examples: evalkit runs · evalkit runs nightly baselines --format json"


def runs(
    folders: list[Path] = typer.Argument(
        None, metavar="[FOLDERS…]", help="Folders of runs, searched at any depth.", show_default="runs"
    ),
    format: options.Format = options.FORMAT,
) -> None:
    """List runs: when they started, their state, suite, model, lengths, samples and score at the longest context.

    A run is finished, running (another process uses its folder) or stopped. The newest comes first.
    """
    from evalkit.analysis.run_list import list_runs
    from evalkit.cli.shared.suite_run import RUNS
    from reports.run_list import run_list_report

    listed = list_runs(folders or [RUNS])
    print_result(format, {"runs": listed}, run_list_report(listed))
