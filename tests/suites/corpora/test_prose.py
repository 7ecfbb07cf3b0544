"""Running text is split into sentences, with all of the book and nothing around it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.corpora.prose import is_prose, sentences_of, strip_gutenberg

BOOK = """The Project Gutenberg EBook of Two Hills, by A. Nobody

Title: Two Hills

*** START OF THIS PROJECT GUTENBERG EBOOK TWO
HILLS ***




Produced by An Anonymous Volunteer




TWO HILLS

CHAPTER I

Mr. Fell lived under the
first hill. He said:

"It is cold!" Nobody answered.

End of the Project Gutenberg EBook of Two Hills, by A. Nobody

*** END OF THIS PROJECT GUTENBERG EBOOK TWO HILLS ***

Updated editions will replace the previous one.
"""


def test_a_book_is_read_without_header_credits_headings_and_footer() -> None:
    assert sentences_of(BOOK) == (
        "Mr. Fell lived under the first hill.",
        'He said: "It is cold!"',
        "Nobody answered.",
    )


@pytest.mark.parametrize("article", ["THE", "THIS"])
def test_both_wordings_of_the_header_are_known(article: str) -> None:
    edge = f"OF {article} PROJECT GUTENBERG EBOOK X ***"
    text = f"Licence.\n*** START {edge}\nBody.\n*** END {edge}\nMore."
    assert strip_gutenberg(text).strip() == "Body."


def test_a_text_without_header_stays_whole() -> None:
    assert strip_gutenberg("Produced by hand. A text.") == "Produced by hand. A text."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Lee came at 5 p.m. on Sunday. It rained.", ("Dr. Lee came at 5 p.m. on Sunday.", "It rained.")),
        ("So said J. R. Reed. Yes.", ("So said J. R. Reed.", "Yes.")),
        ("It was I. She knew.", ("It was I.", "She knew.")),
        ('"Go!" he cried. "Now?" "Yes."', ('"Go!" he cried.', '"Now?"', '"Yes."')),
        ("Wait… Then go on. and on.", ("Wait…", "Then go on. and on.")),
        ("One\tline\x0c and\r\nanother.\ufeff", ("One line and another.",)),
        ("Heading\n\nText.", ("Text.",)),
        ("Contents\n\nI. First\nII. Second\n\nText.", ("Text.",)),
        ("He wrote,\n\nand it was done.", ("He wrote, and it was done.",)),
        ("", ()),
        ("no end", ()),
    ],
)
def test_sentences(text: str, expected: tuple[str, ...]) -> None:
    assert sentences_of(text) == expected


@given(st.text(max_size=400) | st.text(alphabet=' .!?\nAab"”—\t\x0b\x85\u2028', max_size=200))
def test_sentences_of_anything_are_single_lines_that_end_as_sentences(text: str) -> None:
    for sentence in sentences_of(text):
        assert sentence == " ".join(sentence.split())
        assert len(sentence.splitlines()) == 1
        assert re.search(r"[.!?…][\"'”’)\]*_]*$", sentence)


WORDS = st.sampled_from(["dr", "etc", "p", "the", "harbour", "lay", "quiet", "before", "morning", "while", "boats"])
SENTENCES = st.lists(st.lists(WORDS, min_size=2, max_size=8).map(lambda w: " ".join(["So", *w]) + "."), min_size=1)


@given(SENTENCES)
def test_plain_sentences_come_back_as_they_were(sentences: list[str]) -> None:
    assert list(sentences_of(" ".join(sentences))) == _joined_at_abbreviations(sentences)


def _joined_at_abbreviations(sentences: list[str]) -> list[str]:
    joined: list[str] = []
    for sentence in sentences:
        if joined and joined[-1].rsplit(" ")[-1].removesuffix(".") in ("dr", "etc", "p"):
            joined[-1] += f" {sentence}"
        else:
            joined.append(sentence)
    return joined


def test_prose_is_told_from_lists_and_logs() -> None:
    prose = "The harbour was quiet that morning, and nobody spoke. " * 40
    assert is_prose(prose)
    assert not is_prose(prose[:500])
    assert not is_prose("\n".join(["apple", "bridge", "cloud"] * 200))
    assert not is_prose("\n".join(f"{i} Mary went to the hall." for i in range(100)))
    assert not is_prose("http://example.org/a.html\n" * 100)
    assert not is_prose("12.5, 13.8; 99.1. " * 200)
