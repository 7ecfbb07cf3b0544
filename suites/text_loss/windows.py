"""Windows of a source that fit a context; each token of the text is scored in exactly one of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from evalkit.running.protocols import Tokenizer
from suites.text_loss.sources import Document, Source

# Characters read at a time: more than fill a context, because a token of prose has about four characters.
CHARACTERS_PER_TOKEN = 8
NEAR_END = 0.9
"""Share of a window by which it may be shorter, to end before white space and not inside a word."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a document, in its source's positions."""

    document: int
    context: int
    """Start of the context, which is read and not scored."""
    start: int
    """Start of the scored text."""
    end: int
    tokens: int
    """Tokens of the whole window, special tokens not counted."""


@dataclass(frozen=True, slots=True)
class WindowSize:
    """Tokens per window, without special tokens."""

    tokens: int
    overlap: int
    """Tokens of the preceding text that are added as context; at most half of `tokens`."""


def cut_windows(source: Source, tokenizer: Tokenizer, size: WindowSize) -> Iterator[Window]:
    """The windows of all documents in order; no window spans two documents.

    A window's own text, tokenized alone, has at most `size.tokens` tokens. Only a few windows are in memory.
    """
    for document in source.documents():
        yield from _cut_document(source, document, tokenizer, size)


def _cut_document(source: Source, document: Document, tokenizer: Tokenizer, size: WindowSize) -> Iterator[Window]:
    start = 0
    for piece in _Cutter(document, tokenizer, size).pieces():
        end = start + source.size(piece.text)
        yield Window(document.start, start - source.size(piece.context), start, end, piece.tokens)
        start = end


@dataclass(frozen=True, slots=True)
class Piece:
    """The texts of one window."""

    context: str
    text: str
    tokens: int


class _Cutter:
    """Takes a document's text from its start, one window at a time."""

    def __init__(self, document: Document, tokenizer: Tokenizer, size: WindowSize) -> None:
        self._blocks = document.blocks()
        self._tokenizer, self._size = tokenizer, size
        self._waiting = ""
        self._ended = False

    def pieces(self) -> Iterator[Piece]:
        context, overlap = "", self._size.overlap
        while self._fill():
            text, offsets = self._take(context)
            yield Piece(context, text, len(offsets))
            context = (context + text)[offsets[max(0, len(offsets) - overlap)][0] :] if overlap else ""

    def _fill(self) -> bool:
        """Read on until the waiting text is longer than a window; False at the end of all text."""
        parts, characters = [self._waiting], len(self._waiting)
        while not self._ended and characters < self._size.tokens * CHARACTERS_PER_TOKEN:
            block = next(self._blocks, None)
            self._ended = block is None
            parts.append(block or "")
            characters += len(block or "")
        self._waiting = "".join(parts)
        return bool(self._waiting)

    def _take(self, context: str) -> tuple[str, list[tuple[int, int]]]:
        """As much of the waiting text as fits after `context`, at least one character; offsets of both."""
        taken = self._waiting[: self._size.tokens * CHARACTERS_PER_TOKEN]
        offsets = self._offsets(context + taken)
        is_last = self._ended and len(taken) == len(self._waiting)
        if not is_last or len(offsets) > self._size.tokens:
            if len(offsets) > self._size.tokens:
                taken = taken[: max(1, offsets[self._size.tokens][0] - len(context))]
            taken = _before_white_space(taken)
            while len(offsets := self._offsets(context + taken)) > self._size.tokens and len(taken) > 1:
                # Cutting a word can change how its first part is tokenized.
                taken = taken[: -max(1, len(taken) // 64)]
        self._waiting = self._waiting[len(taken) :]
        return taken, offsets

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer.encode_with_offsets(text)[1]


def _before_white_space(text: str) -> str:
    """`text` up to its last white space if that is near the end."""
    for position in range(len(text) - 1, int(len(text) * NEAR_END), -1):
        if text[position].isspace() and not text[position - 1].isspace():
            return text[:position]
    return text
