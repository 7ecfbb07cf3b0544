"""Reports as GitHub-flavoured markdown; every piece of text is shown as text, never as markup."""

import re

from evalkit.records import RunRecord
from reports.plain_text import one_line
from reports.report import Report, Table
from reports.run_report import run_report

# Everything that opens markup inside a line of GitHub-flavoured markdown, and the pipe that ends a table's cell; an
# underscore within a word opens none, and names of tasks read better without a backslash.
_MARKUP = re.compile(r"([\\`*\[<>#|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
# GitHub links these without any markup; an empty comment inside them shows nothing and breaks the link.
_AUTOLINK = re.compile(r"(://|www\.|@)", re.IGNORECASE)
# Opens a list or draws a rule where it stands first.
_BLOCK = re.compile(r"^(\d{0,9})([-+.)])(?=\s|-|$)")


def escape(text: str) -> str:
    """`text` so that markdown shows it literally, on one line and wherever it stands in one."""
    escaped = _MARKUP.sub(r"\\\1", one_line(text))
    unlinked = _AUTOLINK.sub(lambda match: f"{match[0][0]}<!-- -->{match[0][1:]}", escaped)
    return _BLOCK.sub(r"\1\\\2", unlinked)


def render_run(record: RunRecord) -> str:
    """The report of one run as a markdown document."""
    return render(run_report(record))


def render(report: Report) -> str:
    """A report as a markdown document."""
    lines = [f"# {escape(report.headline)}", ""]
    for notice in report.notices:
        lines += [f"> {escape(notice)}", ""]
    for table in report.tables:
        lines += [f"## {escape(table.title)}", "", *_table(table), ""]
    lines += [f"- {escape(name)}: {escape(value)}" for name, value in report.facts]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(table: Table) -> list[str]:
    head = "| " + " | ".join(escape(column) for column in table.columns) + " |"
    rule = "| --- |" + " ---: |" * (len(table.columns) - 1)
    return [head, rule, *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in table.rows)]
