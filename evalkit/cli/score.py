"""`evalkit score`: predictions made by other tools, judged by our metrics."""

import json
from dataclasses import asdict
from pathlib import Path

import typer

from evalkit.cli.shared import options

app = typer.Typer(no_args_is_help=True, help="Score predictions that another tool made.")


@app.callback()
def _root() -> None:
    """Keep `ruler` a subcommand while it is the only one."""


@app.command("ruler", epilog="Example: evalkit score ruler ./predictions --format json")
def ruler(
    path: Path = typer.Argument(..., help="A folder of <task>.jsonl with `pred` and `outputs`, as RULER writes them."),
    dialect: str = typer.Option("nvidia", "--dialect", help="nvidia (substring) or olmes (Ai2's QA metric)."),
    format: options.Format = options.FORMAT,
) -> None:
    """Score RULER predictions: a value for each task and length with its interval."""
    from reports.terminal import print_report
    from suites.ruler.predictions import score_folder

    scored = score_folder(path, dialect)
    if format is options.Format.JSON:
        typer.echo(json.dumps(asdict(scored), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from reports.run_report import scores_report

    print_report(Console(highlight=False), scores_report(f"ruler predictions in {path} · dialect {dialect}", scored))
