"""Reports on the terminal: whole outputs, with any text."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from evalkit.records import RunRecord
from reports.report import Report, Table
from reports.run_report import run_report
from reports.terminal import WIDTH_OF_FILES, print_report, stdout_console
from tests.reports.example_runs import EMBEDDED, FULL, hostile
from tests.reports.hostile_text import HOSTILE_TEXTS


def printed(record: RunRecord, *, width: int = 100, color: bool = False) -> str:
    file = io.StringIO()
    print_report(Console(file=file, width=width, highlight=False, force_terminal=color), run_report(record))
    return file.getvalue()


@pytest.mark.parametrize(("name", "record"), [("full", FULL), ("embedded", EMBEDDED)])
def test_the_whole_picture(name: str, record: RunRecord, check_golden: Callable[[str, str], None]) -> None:
    check_golden(f"reports/run_{name}.txt", printed(record))


def test_a_narrow_terminal_loses_no_figure() -> None:
    columns: list[str] = ["", "", ""]
    for line in printed(FULL, width=60).splitlines():
        if line.startswith("│") and line.count("│") == 4:
            columns = [column + cell.strip() for column, cell in zip(columns, line.split("│")[1:4], strict=True)]
    shown = [column.replace(" ", "") for column in columns]
    assert shown[0] == "niah_single_2vtcwemean"
    assert "87.4[82.2,92.0](n=100)" in shown[1]
    assert "61.2[54.0,68.5](n=98,2errored)" in shown[2]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_text_moves_no_cursor_and_makes_no_style(text: str) -> None:
    plain = printed(hostile(text))
    assert not [c for c in plain if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    plain.encode()
    # With colour, the only escape sequences are those that the report has with harmless text.
    assert escapes(printed(hostile(text), color=True, width=2000)) == escapes(
        printed(hostile("harmless"), color=True, width=2000)
    )


@pytest.mark.parametrize("text", ["[bold red]x[/]", ":smile:", "[link=http://x]y[/link]", "a\\[b]"])
def test_rich_markup_is_shown_as_it_is(text: str) -> None:
    report = Report(text, (text,), (Table(text, (text, text), ((text, text),)),), ((text, text),))
    file = io.StringIO()
    print_report(Console(file=file, width=200, highlight=False), report)
    assert file.getvalue().count(text) == 9


def test_long_lines_are_not_broken() -> None:
    report = Report("headline " * 30, (), (), (("fact", "value " * 50),))
    file = io.StringIO()
    print_report(Console(file=file, width=60), report)
    assert len(file.getvalue().splitlines()) == 2


def test_a_file_is_wide_enough_for_six_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert stdout_console().width == WIDTH_OF_FILES
    monkeypatch.setenv("COLUMNS", "77")
    assert stdout_console().width == 77


def escapes(text: str) -> list[str]:
    return [piece.split("m")[0] for piece in text.split("\x1b")[1:]]
