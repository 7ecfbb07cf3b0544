"""Reports on the terminal: whole outputs, with any text."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from evalkit.records import RunRecord
from reports.length_chart import by_length, series_of
from reports.plain_text import one_line
from reports.report import Report, Table
from reports.run_report import run_report
from reports.terminal import WIDTH_OF_FILES, print_report, print_rows, stdout_console
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
    assert shown[0] == "meanniah_single_2vtcwe"
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


def test_a_table_without_room_for_its_words_is_a_list() -> None:
    wide = Table("wide", ("task", "score", "interval"), (("niah_multikey_1", "100.0", "[99.9, 100.0]"),))
    file = io.StringIO()
    print_report(Console(file=file, width=30, highlight=False), Report("", (), (wide,), ()))
    assert file.getvalue().splitlines()[1:] == [
        "wide",
        "niah_multikey_1",
        "  score 100.0 · interval",
        "  [99.9, 100.0]",
    ]


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "█" * 32), ("ascii", "#" * 32)])
def test_scores_by_length_are_bars(encoding: str, bar: str) -> None:
    record = replace(FULL, summary=FULL.summary[1:])
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    print_report(Console(file=file, width=82, highlight=False), run_report(record))
    file.seek(0)
    assert f"65,536  80.1 [76.5, 83.6], incomplete  {bar}" in file.read().splitlines()


def test_two_models_share_a_length() -> None:
    bars = by_length("", "", [series_of("base", [(4096, 50.0, None)]), series_of("other", [(4096, 25.0, (20, 30))])])
    file = io.StringIO()
    print_report(Console(file=file, width=46, highlight=False), Report("", (), (), (), bars=bars))
    assert file.getvalue().splitlines()[1:] == [
        "4,096  base   50.0               ██████▌",
        "       other  25.0 [20.0, 30.0]  ███▎",
    ]


def test_means_that_lack_samples_are_marked() -> None:
    bars = by_length("", "", [series_of("", [(4096, 50.0, (40, 60)), (8192, 25.0, None)], {4096})])
    file = io.StringIO()
    print_report(Console(file=file, width=60, highlight=False), Report("", (), (), (), bars=bars))
    assert file.getvalue().splitlines()[1:] == [
        "4,096  50.0 [40.0, 60.0], incomplete  ███████████",
        "8,192  25.0                           █████▌",
    ]


def test_sentences_break_between_words_on_a_terminal_alone() -> None:
    report = Report("", ("significant difference " * 5,), (), ())
    for is_terminal, lines in ((True, 5), (False, 1)):
        file = io.StringIO()
        print_report(
            Console(file=file, width=30, highlight=False, force_terminal=is_terminal, color_system=None), report
        )
        shown = file.getvalue().splitlines()[1:]
        assert len(shown) == lines
        assert all(line.strip() == " ".join(["significant difference"] * (5 // lines)) for line in shown)


def test_long_lines_are_not_broken() -> None:
    report = Report("headline " * 30, (), (), (("fact", "value " * 50),))
    file = io.StringIO()
    print_report(Console(file=file, width=60), report)
    assert len(file.getvalue().splitlines()) == 2


def test_rows_in_a_pipe_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"row-{place}", text) for place, text in enumerate(("答案是这个魔法数字" * 6, "\x1b[2J" * 30, "7"))]
    print_rows(("id", "answer"), rows)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3 + len(rows) + 1
    for line, (name, text) in zip(shown[3:], rows, strict=False):
        assert name in line
        assert one_line(text) in line


def test_a_file_is_wide_enough_for_six_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert stdout_console().width == WIDTH_OF_FILES
    monkeypatch.setenv("COLUMNS", "77")
    assert stdout_console().width == 77


def escapes(text: str) -> list[str]:
    return [piece.split("m")[0] for piece in text.split("\x1b")[1:]]
