"""Reports on the terminal."""

import os
import sys
from collections.abc import Sequence

from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from reports.plain_text import one_line
from reports.report import Report, Table

WIDTH_OF_FILES = 160
"""Room for six context lengths with their intervals."""
LEAST_COLUMN = 6
"""Least width of a column, or its longest word if that is shorter, so that a number such as 100.0 is not split."""


def stdout_console() -> Console:
    """The console for reports: a terminal at its own width, a file or pipe at one where no table has to fold."""
    # COLUMNS sets another width; rich reads it by itself.
    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=WIDTH_OF_FILES if free else None)


def print_report(console: Console, report: Report) -> None:
    """Print a report; its text is never read as rich markup, and its control characters are spelled out."""
    _print_line(console, one_line(report.headline), "bold")
    for notice in report.notices:
        _print_line(console, one_line(notice), "yellow")
    for table in report.tables:
        # Not the table's own title, which would be folded to the table's width.
        _print_line(console, one_line(table.title))
        _print_table(console, table)
    facts = [(one_line(name), one_line(value)) for name, value in report.facts]
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        _print_line(console, f"{name:<{width}}  {value}".rstrip())


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table on stdout; in a pipe each row is one line, for grep and awk."""
    console = stdout_console()
    if not console.is_terminal:
        widths = (max(map(len, column)) for column in zip(columns, *rows, strict=True))
        console = Console(highlight=False, width=sum(width + 3 for width in widths) + 1)
    _print_table(console, Table("", tuple(columns), tuple(map(tuple, rows))), justify="left")


def _print_table(console: Console, table: Table, justify: JustifyMethod = "right") -> None:
    # Not cropped: if the terminal is narrower than the columns need, lines are longer than the terminal.
    console.print(_rich_table(table, justify), crop=False)


def _print_line(console: Console, text: str, style: str = "") -> None:
    # Without a hard break, so that a line that is copied from the terminal stays whole.
    console.print(Text(text, style=style), soft_wrap=True)


def _rich_table(table: Table, justify: JustifyMethod) -> RichTable:
    shown = RichTable()
    for position, (column, is_numeric) in enumerate(zip(table.columns, table.numeric, strict=True)):
        words = " ".join((column, *(row[position] for row in table.rows))).split()
        shown.add_column(
            Text(one_line(column)),
            justify=justify if is_numeric else "left",
            overflow="fold",
            min_width=min(LEAST_COLUMN, max(map(len, words), default=1)),
        )
    for place, row in enumerate(table.rows):
        shades = table.shades[place] if table.shades else ()
        styles = ["", *(_shade(value) for value in shades), *[""] * len(row)]
        shown.add_row(*(Text(one_line(cell), style=style) for cell, style in zip(row, styles, strict=False)))
    return shown


def _shade(value: float | None) -> str:
    """Style of a cell: dark text on a colour from red (0) through yellow to green (1)."""
    if value is None:
        return ""
    red, green = min(1.0, 2 - 2 * value), min(1.0, 2 * value)
    return f"black on rgb({int(80 + 175 * red)},{int(80 + 175 * green)},80)"
