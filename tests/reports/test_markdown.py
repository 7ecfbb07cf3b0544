"""Markdown shows text verbatim: a reader's parser finds exactly the text of the report."""

import html
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reports.markdown import escape, render, render_run
from reports.plain_text import one_line
from reports.report import Report, Table
from tests.reports.example_runs import hostile
from tests.reports.hostile_text import HOSTILE_TEXTS
from tests.reports.parsed import PARSER, blocks, check_markdown, inline_texts

any_text = st.text(st.sampled_from("ab12 \n\t-+*_.:)(|[]<>!#`~\\&;/@$=\x1b\u202e")) | st.sampled_from(HOSTILE_TEXTS)


def report_of(text: str) -> Report:
    return Report(text, (text,), (Table(text, (text, text), ((text, text), (text, text))),), ((text, text),))


EXPECTED_BLOCKS = blocks(PARSER.parse(render(report_of("harmless"))))


@given(any_text)
def test_any_text_is_shown_as_it_is(text: str) -> None:
    shown = one_line(text)
    assume(shown)
    tokens = PARSER.parse(render(report_of(text)))
    assert blocks(tokens) == EXPECTED_BLOCKS
    # Heading, notice, table title, 2 columns, 2 × 2 cells, one fact.
    assert [unspaced(found) for found in inline_texts(tokens)] == [unspaced(shown)] * 9 + [unspaced(f"{shown}:{shown}")]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_a_run_with_hostile_text_keeps_its_structure(text: str) -> None:
    check_markdown(lambda shown: render_run(hostile(shown)), text)


@given(any_text)
def test_what_is_shown_holds_no_tag_and_no_link(text: str) -> None:
    page = re.sub(r"<code>[^<]*</code>", "", PARSER.render(render(report_of(text))))
    tags = set(re.findall(r"</?([a-zA-Z]\w*)", page))
    assert tags <= {"h1", "h2", "p", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert not re.search(r"(https?://|www\.|\w@[\w-]+\.\w|(?<!\w)@\w)", html.unescape(page))


@pytest.mark.parametrize(
    "text",
    [
        "-3.2",
        "+1.0 [0.5, 1.5]",
        "[77.6, 88.8]",
        "< 0.0001",
        "2.5 of 3",
        "a-b",
        "niah_multikey_2",
        "ruler/vt@65536",
        "the other 4 rows are ~.",
        "~",
        "-",
        "R&D",
    ],
)
def test_cells_that_open_no_markup_are_left_alone(text: str) -> None:
    assert f"| {text} | {text} |" in render(report_of(text))


def test_numbers_are_aligned_to_the_right_and_text_to_the_left() -> None:
    rows = (("vt", "4,096", "-23.3 [-36.0, -9.9]", "worse", "16 fewer"), ("qa", "-", "+0.0", "~", "-"))
    table = Table("title", ("task", "length", "difference", "verdict", "changed"), rows)
    assert "| --- | ---: | ---: | --- | ---: |" in render(Report("", (), (table,), ()))


@pytest.mark.parametrize(
    "text",
    ["@user", "(@user)", "me@example.com", "[a](b)", "~a~", "~~a~~", "<a>", "&lt;", "[!NOTE]", "[a]: b", "www.a.b"],
)
def test_what_would_be_markup_or_a_link_is_shown_as_text(text: str) -> None:
    tokens = PARSER.parse(render(report_of(text)))
    assert set(inline_texts(tokens)) == {text, f"{text}: {text}"}
    assert escape(text) != text


def test_details_are_folded() -> None:
    table = Table("a <b> & c", ("task",), (("vt",),), is_detail=True)
    assert render(Report("", (), (table,), ())).endswith(
        "<details><summary>a &lt;b&gt; &amp; c</summary>\n\n| task |\n| --- |\n| vt |\n\n</details>\n"
    )


def unspaced(text: str) -> str:
    return re.sub(r"\s+", "", text)
