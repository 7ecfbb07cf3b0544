"""Reports as GitHub-flavoured markdown; every piece of text is shown as text, never as markup."""

import re

from evalkit.records import RunRecord
from reports.run_report import Report, Table, run_report

# Everything that opens markup in GitHub-flavoured markdown, and the pipe that ends a table's cell.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&$@])")


def escape(text: str) -> str:
    """`text` so that markdown shows it literally, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


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
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    head = "| " + " | ".join(escape(column) for column in table.columns) + " |"
    rule = "| --- |" + " ---: |" * (len(table.columns) - 1)
    return [head, rule, *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in table.rows)]
