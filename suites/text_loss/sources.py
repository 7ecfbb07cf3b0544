"""Sources of text: a text file, a JSONL file with one document per line, or the essays.

A source is read twice, first from start to end to cut it into windows, then window by window; it is never in memory as
a whole.
"""

import codecs
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from evalkit.errors import UsageError
from evalkit.files import reading
from evalkit.records import CorpusUse
from evalkit.records.codec import RecordError, parse_json
from evalkit.surrogates import half_surrogate
from suites.corpora import Essays

BLOCK_BYTES = 1 << 16
SENTENCES_PER_BLOCK = 64
JSON_LINES = ".jsonl"
FIELD = "text"
"""Default field of a .jsonl file."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text with random access; positions are in the source's own unit."""

    start: int
    """Position of its first character."""
    blocks: Callable[[], Iterator[str]]
    """Its text from start to end, in pieces of any size."""


class Source(Protocol):
    """A corpus of documents."""

    @property
    def use(self) -> CorpusUse: ...

    def documents(self) -> Iterator[Document]: ...

    def read(self, document: int, start: int, end: int) -> str:
        """The text between two positions of the document that starts at position `document`."""
        ...

    def size(self, text: str) -> int:
        """Length of `text` in units of positions."""
        ...


class TextFile:
    """A text file as one document, without a byte order mark; positions are bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with reading(path), path.open("rb") as file:
            self._start = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0

    @cached_property
    def use(self) -> CorpusUse:
        return _file_use(self._path)

    def documents(self) -> Iterator[Document]:
        yield Document(self._start, self._blocks)

    def read(self, document: int, start: int, end: int) -> str:
        with self._path.open("rb") as file:
            file.seek(document + start)
            return file.read(end - start).decode("utf-8")

    def size(self, text: str) -> int:
        return len(text.encode("utf-8"))

    def _blocks(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        position = self._start
        with self._path.open("rb") as file:
            file.seek(position)
            while block := file.read(BLOCK_BYTES):
                yield self._decode(decoder, block, position)
                position += len(block)
        yield self._decode(decoder, b"", position, final=True)

    def _decode(self, decoder: codecs.IncrementalDecoder, block: bytes, position: int, *, final: bool = False) -> str:
        waiting = len(decoder.getstate()[0])
        try:
            return decoder.decode(block, final)
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{self._path}: byte {position - waiting + error.start:,} is not UTF-8 text; decompress the file, or "
                "convert it to UTF-8"
            ) from None


class JsonLines:
    """A JSONL file with a document in one field of each line; positions are characters of that text."""

    def __init__(self, path: Path, field: str) -> None:
        self._path, self._field = path, field

    @cached_property
    def use(self) -> CorpusUse:
        return _file_use(self._path)

    def documents(self) -> Iterator[Document]:
        offset = 0
        with reading(self._path), self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    text = self._text(line, f"{self._path}:{number}")
                    yield Document(offset, lambda text=text: iter([text]))  # type: ignore[misc]  # bound at once
                offset += len(line)

    def read(self, document: int, start: int, end: int) -> str:
        with self._path.open("rb") as file:
            file.seek(document)
            return self._text(file.readline(), f"{self._path} at byte {document:,}")[start:end]

    def size(self, text: str) -> int:
        return len(text)

    def _text(self, line: bytes, where: str) -> str:
        try:
            record = parse_json(line, finite=False)
        except RecordError as error:
            raise UsageError(f"{where}: {error}; write one JSON object per line") from None
        if not isinstance(record, dict) or self._field not in record:
            raise UsageError(f"{where} has no field {self._field!r}; give the field with the text by --field")
        text = record[self._field]
        if not isinstance(text, str):
            raise UsageError(f"{where}: field {self._field!r} is not text; give the field with the text by --field")
        if (position := half_surrogate(text)) is not None:
            raise UsageError(f"{where}: character {position:,} is half a surrogate pair; write it whole")
        return text


class EssayText:
    """The essays' sentences as one document; positions are characters of the sentences joined by spaces."""

    def __init__(self, essays: Essays) -> None:
        self._sentences = essays.sentences
        self.use = essays.use

    def documents(self) -> Iterator[Document]:
        yield Document(0, self._blocks)

    def read(self, document: int, start: int, end: int) -> str:
        parts, position = [], document
        for block in self._blocks():
            parts.append(block[max(0, start - position) : max(0, end - position)])
            position += len(block)
            if position >= end:
                break
        return "".join(parts)

    def size(self, text: str) -> int:
        return len(text)

    def _blocks(self) -> Iterator[str]:
        for first in range(0, len(self._sentences), SENTENCES_PER_BLOCK):
            yield "".join(f"{sentence} " for sentence in self._sentences[first : first + SENTENCES_PER_BLOCK])


def question_settings(path: str | None, field: str) -> dict[str, str]:
    """What decides the text of a source apart from the file: the field of JSON lines."""
    return {"field": field} if path is not None and Path(path).suffix == JSON_LINES else {}


def open_source(path: Path, field: str) -> Source:
    """Open a source: a `.jsonl` file has one document per line, any other file is one text.

    Raises UsageError if the file cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file; name a text file, or a .jsonl file with one document per line")
    return JsonLines(path, field) if path.suffix == JSON_LINES else TextFile(path)


def check_text(path: str | None, field: str) -> None:
    """Raise UsageError if a text file does not begin as one; None, for the essays, always passes."""
    if path is not None:
        for document in open_source(Path(path), field).documents():
            next(iter(document.blocks()), None)
            return


def check_field(path: Path | None, field: str) -> None:
    """Raise UsageError for a field of documents that are not JSON lines."""
    if field != FIELD and (path is None or path.suffix != JSON_LINES):
        raise UsageError(f"--field {field} is for a {JSON_LINES} file, not {path or 'the essays'}; leave it out")


def _file_use(path: Path) -> CorpusUse:
    with reading(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CorpusUse(role="text", name=path.name, sha256=digest, source=str(path))
