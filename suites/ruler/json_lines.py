"""Files with one JSON object per line; errors name the file and line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records.codec import RecordError, parse_json
from evalkit.surrogates import half_surrogate


@dataclass(frozen=True, slots=True)
class JsonLine:
    """One object with its place."""

    path: Path
    number: int
    """From 1, blank lines counted."""
    offset: int
    """Offset of the line in bytes."""
    fields: dict[str, Any]

    def error(self, message: str) -> UsageError:
        """`file:line: message`."""
        return UsageError(f"{self.path}:{self.number}: {message}")

    def text(self, name: str) -> str:
        """The string called `name`; UsageError if it is missing or not a string."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.error(f"`{name}` is {_shown(value)}; it must be a string")
        return value

    def prompt_text(self, name: str) -> str:
        """The string called `name`, which a tokenizer must be able to read."""
        value = self.text(name)
        if (position := half_surrogate(value)) is not None:
            raise self.error(f"`{name}` has half a surrogate pair at character {position:,}; write it whole")
        return value

    def references(self) -> tuple[str, ...]:
        """The right answers: `outputs`, or `answer` in HELMET's files."""
        name = "outputs" if "outputs" in self.fields or "answer" not in self.fields else "answer"
        value = self.fields.get(name)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise self.error(f"`{name}` is {_shown(value)}; it must be a list of one or more strings")
        return tuple(texts)


def read_json_lines(path: Path) -> Iterator[JsonLine]:
    """The objects of `path` in order; UsageError if it cannot be read or a line is not a JSON object."""
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield parse_json_line(path, number, offset, line)
                offset += len(line)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def parse_json_line(path: Path, number: int, offset: int, line: bytes) -> JsonLine:
    """The object of one line; UsageError names the file and line if it is none."""
    try:
        fields = parse_json(line, finite=False)
    except RecordError as error:
        raise UsageError(f"{path}:{number}: {error}; write one JSON object per line") from None
    if not isinstance(fields, dict):
        raise UsageError(f"{path}:{number}: {_shown(fields)} is not a JSON object")
    return JsonLine(path, number, offset, fields)


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    shown = repr(value)
    return f"{shown[:40]}…" if len(shown) > 40 else shown
