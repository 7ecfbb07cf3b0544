"""`evalkit leaderboard`: compare many runs in one table."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit import files
from evalkit.cli.shared.hub_runs import HELP as HUB_HELP
from evalkit.cli.shared.hub_runs import run_path
from evalkit.cli.shared.output import write_chart_files
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.foreign_results import ForeignResult
    from evalkit.analysis.leaderboard import Leaderboard
    from reports.report import Report

EXAMPLES = (
    "Examples: evalkit leaderboard runs -o LEADERBOARD.md · "
    "evalkit leaderboard runs/a runs/b lm_eval_results.json RULER/model/synthetic/4096/pred/summary.csv -o board.html"
)


class BoardFormat(StrEnum):
    """How a leaderboard is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


_SUFFIXES = {
    ".md": BoardFormat.MARKDOWN,
    ".html": BoardFormat.HTML,
    ".csv": BoardFormat.CSV,
    ".json": BoardFormat.JSON,
    ".txt": BoardFormat.TERMINAL,
}


def leaderboard(
    runs: list[Path] = typer.Argument(
        ...,
        metavar="RUNS…",
        parser=run_path,
        help=f"Run folders, folders of them, lm-eval's result JSON, or RULER's summary.csv. {HUB_HELP}",
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Write to this file; without --format its suffix sets it: .md .html .csv .json"
    ),
    format: BoardFormat | None = typer.Option(
        None, "--format", help="Format of the table.", show_default="terminal, or that of --out's suffix"
    ),
    figures: Path | None = typer.Option(
        None, "--figures", help="Write charts of scores by length into this folder, as PNG and SVG."
    ),
    rank_by: str | None = typer.Option(
        None,
        "--rank-by",
        help="Column to rank by, such as ruler@65536.",
        show_default="the longest that most models have",
    ),
) -> None:
    """Compare models in one table: scores by length, effective length, losses, speed and memory, ranked with ties.

    The output does not depend on the order of the runs, so that every difference in git is a real change. Runs of
    another dialect, suite version or corpora, and results of other tools, have separate tables. Runs in a folder that
    have not finished or cannot be read are listed with the reason; of several runs of one model the newest counts.
    """
    from evalkit.analysis.board_runs import read_runs
    from evalkit.analysis.foreign_results import is_foreign, read_foreign_results
    from evalkit.analysis.leaderboard import build_leaderboard

    chosen = format or format_of(out)
    foreign = read_foreign_results(path for path in runs if is_foreign(path))
    own, left_out = read_runs([path for path in runs if not is_foreign(path)])
    if not own and not foreign:
        raise UsageError(f"no run can be ranked; {left_out[0].folder}: {left_out[0].reason}")
    board = build_leaderboard(own, rank_by, left_out)
    text = render(board, foreign, chosen)
    if figures is not None:
        _draw(board, figures)
    if out is None:
        print(text, end="")
        return
    with files.writing(out):
        out.write_text(text, encoding="utf-8", newline="\n")
    typer.echo(f"wrote {out}", err=True)


def _draw(board: "Leaderboard", folder: Path) -> None:
    from reports.run_charts import board_charts

    for number, one in enumerate(board.boards):
        write_chart_files(board_charts(one), folder, f"protocol_{number + 1}_" if number else "")


def format_of(out: Path | None) -> BoardFormat:
    """The format for a file's suffix; the terminal's without a file."""
    if out is None:
        return BoardFormat.TERMINAL
    if out.suffix not in _SUFFIXES:
        raise UsageError(f"{out}: the suffix does not say how to write it; use {', '.join(_SUFFIXES)}, or --format")
    return _SUFFIXES[out.suffix]


def render(
    board: "Leaderboard", foreign: "list[ForeignResult]", format: BoardFormat, notices: Sequence[str] = ()
) -> str:
    """Render a leaderboard as text, with `notices` first."""
    from reports import markdown, terminal
    from reports.leaderboard_report import leaderboard_report, render_csv
    from reports.page import Page, render_page
    from reports.run_charts import board_charts

    def report() -> "Report":
        made = leaderboard_report(board, foreign)
        return replace(made, notices=(*notices, *made.notices))

    match format:
        case BoardFormat.JSON:
            from evalkit.records.codec import to_dict, to_json

            return to_json({**to_dict(board), "foreign": foreign}, indent=2) + "\n"
        case BoardFormat.CSV:
            return render_csv(board, foreign)
        case BoardFormat.HTML:
            charts = [chart for one in board.boards for chart in board_charts(one)]
            return render_page(Page(report(), charts))
        case BoardFormat.MARKDOWN:
            return markdown.render(report())
        case BoardFormat.TERMINAL:
            console = terminal.stdout_console()
            with console.capture() as capture:
                terminal.print_report(console, report())
            return capture.get()
