"""Sentences of running text: essays and novels for the haystack of the needle tasks."""

import re
from collections.abc import Iterator

_GUTENBERG_START = re.compile(
    r"\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG EBOOK.*?\*\*\*", re.DOTALL | re.IGNORECASE
)
_GUTENBERG_END = re.compile(
    r"^(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg)",
    re.MULTILINE | re.IGNORECASE,
)
# Credits between the header and the text are not part of the text either.
_EDITORIAL = re.compile(
    r"^(?:e-?text |text )?(?:produced|prepared|transcribed) by|anonymous volunteer|transcriber.s note|\be-?texts?\b",
    re.IGNORECASE,
)

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff]")
_BLANK_LINE = re.compile(r"\n\s*\n")
_CLOSING = "\"'”’)]*_"
_END_OF_PARAGRAPH = re.compile(rf"[.!?…][{re.escape(_CLOSING)}]*$")
_BOUNDARY = re.compile(rf"(?<=[.!?…])[{re.escape(_CLOSING)}]* (?=[\"'“‘(\[_]*[A-Z0-9])")
_LAST_WORD = re.compile(r"([A-Za-z.]+)\.$")
_ABBREVIATED = """
mr mrs ms dr st prof rev hon messrs mme mlle capt col gen lt maj sgt sr jr esq vs etc cf e.g i.e viz no nos vol fig ch
pp p a.m p.m u.s b.c a.d
"""
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())
# A block without an end mark is kept for the sentence it opens ("he said:"); headings and tables, whose lines are
# short, open none.
_PROSE_LINE_CHARACTERS = 60
_OPENS_THE_NEXT = (":", ",", ";", "—", "--")

MIN_PROSE_CHARACTERS = 1000


def sentences_of(text: str) -> tuple[str, ...]:
    """Sentences in reading order, each on one line with single spaces, each with an end mark.

    Headings, tables, and Project Gutenberg's header and footer are left out.
    """
    return tuple(sentence for paragraph in _paragraphs(strip_gutenberg(text)) for sentence in _split(paragraph))


def strip_gutenberg(text: str) -> str:
    """The book without Project Gutenberg's header, credits and footer; other texts are returned unchanged."""
    start = _GUTENBERG_START.search(text)
    if start is None:
        return text
    body = text[start.end() :]
    end = _GUTENBERG_END.search(body)
    blocks = _BLANK_LINE.split(body[: end.start()] if end else body)
    return "\n\n".join(block for block in blocks if not _EDITORIAL.search(block.lstrip()))


def is_prose(text: str) -> bool:
    """Whether this reads as running text: enough of it, in sentences of usual length, and few numbered lines."""
    text = strip_gutenberg(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if len(text) < MIN_PROSE_CHARACTERS or not lines:
        return False
    numbered = sum(line.lstrip()[0].isdigit() for line in lines)
    ends = len(re.findall(rf"[.!?…][{re.escape(_CLOSING)}]*\s", text + " "))
    letters = sum(character.isalpha() or character.isspace() for character in text[:20_000])
    words_a_sentence = len(text.split()) / max(ends, 1)
    is_written = letters >= 0.8 * len(text[:20_000])
    return is_written and numbered < 0.3 * len(lines) and 3 <= words_a_sentence <= 80


def _paragraphs(text: str) -> Iterator[str]:
    text = _INVISIBLE.sub("", _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")))
    opening = ""
    for block in _BLANK_LINE.split(text):
        paragraph = " ".join([*opening.split(), *block.split()])
        if _END_OF_PARAGRAPH.search(paragraph):
            yield paragraph
            opening = ""
        else:
            longest = max((len(line.strip()) for line in block.splitlines()), default=0)
            is_opening = paragraph.endswith(_OPENS_THE_NEXT) or longest >= _PROSE_LINE_CHARACTERS
            opening = paragraph if is_opening else ""


def _split(paragraph: str) -> Iterator[str]:
    start = 0
    for boundary in _BOUNDARY.finditer(paragraph):
        sentence = paragraph[start : boundary.end() - 1]
        if not _ends_in_abbreviation(sentence):
            yield sentence
            start = boundary.end()
    yield paragraph[start:]


def _ends_in_abbreviation(sentence: str) -> bool:
    match = _LAST_WORD.search(sentence)
    if match is None:
        return False
    word = match[1].lower()
    return word in _ABBREVIATIONS or (len(word) == 1 and word != "i")
