"""Reports on the terminal."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from evalkit.records import RunRecord
from reports.plain_text import one_line
from reports.report import Report, Table
from reports.run_report import run_report


def print_run(console: Console, record: RunRecord) -> None:
    """Print the report of one run."""
    print_report(console, run_report(record))


def print_report(console: Console, report: Report) -> None:
    """Print a report; its text is never read as rich markup, and its control characters are spelled out."""
    console.print(Text(one_line(report.headline), style="bold"))
    for notice in report.notices:
        console.print(Text(one_line(notice), style="yellow"))
    for table in report.tables:
        console.print(_rich_table(table))
    names = [one_line(name) for name, _ in report.facts]
    facts = RichTable.grid(padding=(0, 2))
    for name, (_, value) in zip(names, report.facts, strict=True):
        facts.add_row(Text(name), Text(one_line(value)))
    if names:
        console.print(facts)


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(title=Text(one_line(table.title)), title_justify="left")
    for position, column in enumerate(table.columns):
        shown.add_column(Text(one_line(column)), justify="left" if position == 0 else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(one_line(cell)) for cell in row))
    return shown
