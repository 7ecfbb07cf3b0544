"""Reports on the terminal."""

import os
import sys
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from reports.charts import Lines
from reports.numbers import measured
from reports.plain_text import one_line
from reports.report import Report, Table, Tone

WIDTH_OF_FILES = 160
"""Room for six context lengths with their intervals."""
LONGEST_BAR, SHORTEST_BAR = 40, 8
"""Columns of a bar for the full score; with less room than the shortest no bar is drawn."""
LEAST_WIDTH = 20
STYLES: dict[Tone, str] = {"": "", "worse": "bold yellow", "better": "bold cyan"}
"""Styles of rows, which differ for the colour-blind too."""


def stdout_console() -> Console:
    """The console for reports: a terminal at its own width, a file or pipe at one where no table has to fold."""
    # COLUMNS sets another width; rich reads it by itself.
    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=WIDTH_OF_FILES if free else None)


def print_report(console: Console, report: Report) -> None:
    """Print a report; its text is never read as rich markup, and its control characters are spelled out."""
    _print_prose(console, report.headline, "" if report.verdicts else "bold")
    for verdict in report.verdicts:
        _print_prose(console, verdict, "bold")
    for notice in report.notices:
        _print_prose(console, notice, "yellow")
    if report.bars is not None:
        _print_bars(console, report.bars)
    for table in report.tables:
        # Not the table's own title, which would be folded to the table's width.
        _print_prose(console, table.title)
        if table.note:
            _print_prose(console, table.note, "dim")
        _print_table(console, table)
    facts = [(one_line(name), one_line(value)) for name, value in report.facts]
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        # A command is copied whole.
        as_one = not console.is_terminal or value.startswith("evalkit ")
        console.print(Text(f"{name:<{width}}  {value}".rstrip()), soft_wrap=as_one)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table on stdout; in a pipe each row is one line, for grep and awk."""
    console = stdout_console()
    if not console.is_terminal:
        widths = (max(cell_len(one_line(cell)) for cell in column) for column in zip(columns, *rows, strict=True))
        console = Console(highlight=False, width=sum(width + 3 for width in widths) + 1)
    _print_table(console, Table("", tuple(columns), tuple(map(tuple, rows))), justify="left")


def _print_table(console: Console, table: Table, justify: JustifyMethod = "right") -> None:
    """Print the table, or if a word of it would have to be broken, each row as its name and its cells below."""
    widths = _widths(table, console.width)
    if widths is not None:
        console.print(_rich_table(table, widths, justify))
        return
    for place, row in enumerate(table.rows):
        _print_prose(console, row[0], _tone(table, place))
        named = zip(table.columns[1:], row[1:], strict=True)
        cells = " · ".join(f"{one_line(column)} {one_line(cell)}" for column, cell in named if cell)
        for line in textwrap.wrap(cells, max(LEAST_WIDTH, console.width - 2), break_long_words=False):
            _print_line(console, f"  {line}")


def _widths(table: Table, width: int) -> list[int] | None:
    """Width of each column in a table of `width`; None if there is no room for the longest word of each."""
    columns = [[one_line(cell) for cell in cells] for cells in zip(table.columns, *table.rows, strict=True)]
    wanted = [max(1, *map(cell_len, cells)) for cells in columns]
    widths = [max(1, *(cell_len(word) for cell in cells for word in cell.split() or [""])) for cells in columns]
    # Each column has a border and two spaces, and the table one more border.
    free = width - 3 * len(columns) - 1 - sum(widths)
    if free < 0:
        return None
    while free and widths != wanted:
        place = max(range(len(widths)), key=lambda place: wanted[place] - widths[place])
        widths[place] += 1
        free -= 1
    return widths


def _tone(table: Table, place: int) -> str:
    return STYLES[table.tones[place]] if table.tones else ""


def _print_bars(console: Console, bars: Lines) -> None:
    """One line per length and model: its score, and a bar of full length for the largest possible score."""
    low, high = bars.y_range or (0.0, max((value for one in bars.series for value in one.y), default=0.0) or 1.0)
    shown = []
    for one in bars.series:
        lacking = one.incomplete or (False,) * len(one.x)
        for x, y, bottom, top, incomplete in zip(one.x, one.y, one.low, one.high, lacking, strict=True):
            value = measured(y, None if bottom == top else (bottom, top), 1) + (", incomplete" if incomplete else "")
            shown.append((x, (f"{x:,.0f}", one_line(one.name), value), (y - low) / (high - low)))
    shown.sort(key=lambda line: line[0])
    widths = [max(len(texts[place]) for _, texts, _ in shown) for place in range(3)]
    if len(bars.series) == 1:
        widths[1] = 0
    room = console.width - sum(width + 2 for width in widths if width)
    before = None
    for x, (length, name, value), share in shown:
        start = f"{'' if x == before else length:>{widths[0]}}  " + (f"{name:<{widths[1]}}  " if widths[1] else "")
        bar = _bar(share, min(room, LONGEST_BAR), ascii_only=console.options.ascii_only) if room >= SHORTEST_BAR else ""
        _print_line(console, f"{start}{value:<{widths[2]}}  {bar}".rstrip())
        before = x


def _bar(share: float, width: int, *, ascii_only: bool) -> str:
    """A bar of `share` of `width`, to an eighth of a character where the encoding has such blocks."""
    if ascii_only:
        return "#" * round(share * width)
    whole, eighths = divmod(round(8 * share * width), 8)
    return "█" * whole + ("" if eighths == 0 else chr(0x2590 - eighths))


def _print_prose(console: Console, text: str, style: str = "") -> None:
    """Print a sentence or title, on a terminal broken between words; a file has it on one line."""
    console.print(Text(one_line(text), style=style), soft_wrap=not console.is_terminal)


def _print_line(console: Console, text: str, style: str = "") -> None:
    # Without a hard break, so that a line that is copied from the terminal stays whole.
    console.print(Text(text, style=style), soft_wrap=True)


def _rich_table(table: Table, widths: Sequence[int], justify: JustifyMethod) -> RichTable:
    shown = RichTable()
    for column, is_numeric, width in zip(table.columns, table.numeric, widths, strict=True):
        shown.add_column(Text(one_line(column)), justify=justify if is_numeric else "left", width=width)
    for place, row in enumerate(table.rows):
        shades = table.shades[place] if table.shades else ()
        tone = _tone(table, place)
        styles = [tone, *(_shade(value) for value in shades), *[tone] * len(row)]
        shown.add_row(*(Text(one_line(cell), style=style) for cell, style in zip(row, styles, strict=False)))
    return shown


def _shade(value: float | None) -> str:
    """Style of a cell: dark text on a colour from red (0) through yellow to green (1)."""
    if value is None:
        return ""
    red, green = min(1.0, 2 - 2 * value), min(1.0, 2 * value)
    return f"black on rgb({int(80 + 175 * red)},{int(80 + 175 * green)},80)"
