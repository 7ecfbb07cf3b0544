"""`evalkit show`: a stored run, shown again."""

from pathlib import Path

import typer

from evalkit.cli import options

EXAMPLES = "Example: evalkit show runs/ruler-reference-hybrid-1a2b3c4d"


def show(
    run: Path = typer.Argument(..., help="A run folder, or its run.json."),
    format: options.Format = options.FORMAT,
) -> None:
    """Show the report of a finished run."""
    from evalkit.cli.execution import show_record
    from evalkit.run_store import read_run

    show_record(read_run(run), format)
