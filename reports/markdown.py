"""Reports as GitHub-flavoured markdown; every piece of text is shown as text, never as markup."""

import html
import re
from collections.abc import Iterable, Iterator

from evalkit.records import RunRecord
from reports.plain_text import one_line
from reports.report import Report, Table
from reports.run_report import run_report

# Opens markup inside a line of GitHub-flavoured markdown, or ends a table's cell (the pipe). Some characters do so only
# next to others: `](` ends the text of a link, `x~` can end a strikethrough, `<a` begins a tag, `&a;` is an entity, and
# an underscore within a word opens nothing.
_MARKUP = re.compile(r"([\\`*#|$]|<(?=[A-Za-z/!?])|](?=\()|(?<=\S)~|&(?=#?\w+;)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
# GitHub links addresses and notifies the people who are mentioned, without any markup, except in code.
_LINKED = re.compile(r"://|www\.|(?<!\w)@\w|@[\w-]+\.[\w-]", re.IGNORECASE)
_WORD = re.compile(r"[^\s|`]+")
# Opens a list, a quotation or a link's address, or draws a rule, at the beginning of a block.
_BLOCK = re.compile(r"^(\d{0,9})([-+.)](?=\s|-|$)|[>\[])")


def escape(text: str) -> str:
    """`text` so that markdown shows it literally, on one line and also at the beginning of a block."""
    return _BLOCK.sub(r"\1\\\2", _escape_inline(text))


def _escape_inline(text: str) -> str:
    """Escaped markup, and words that would become links as code."""
    shown, parts, end = one_line(text), [], 0
    for word in _WORD.finditer(shown):
        if _LINKED.search(word[0]):
            parts += [_MARKUP.sub(r"\\\1", shown[end : word.start()]), f"`{word[0]}`"]
            end = word.end()
    return "".join((*parts, _MARKUP.sub(r"\\\1", shown[end:])))


def render_run(record: RunRecord) -> str:
    """The report of one run as a markdown document."""
    return render(run_report(record))


def render(report: Report) -> str:
    """A report as a markdown document, with tables of details folded."""
    lines = [f"# {escape(report.headline)}", ""]
    for verdict in report.verdicts:
        lines += [escape(verdict), ""]
    for notice in report.notices:
        lines += [f"> {escape(notice)}", ""]
    for table in report.tables:
        note = [escape(table.note), ""] if table.note else []
        title = [f"## {escape(table.title)}"]
        if table.is_detail:
            title = [f"<details><summary>{html.escape(one_line(table.title))}</summary>"]
        lines += [*title, "", *note, *table_lines(table), "", *(["</details>", ""] if table.is_detail else [])]
    lines += [f"- {escape(name)}: {escape(value)}" for name, value in report.facts]
    return "\n".join(lines).rstrip("\n") + "\n"


def table_lines(table: Table) -> Iterator[str]:
    """The lines of a table without its title."""
    yield _row(map(_escape_inline, table.columns))
    yield _row("---:" if is_numeric else "---" for is_numeric in table.numeric)
    yield from (_row(map(_escape_inline, row)) for row in table.rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
