"""MMLU from a folder of CSV files, in either of its two common layouts.

The original has no header and answers A to D; the other begins with `question,choice0,choice1,choice2,choice3,answer`
and answers 0 to 3.
"""

import csv
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path

from evalkit.errors import UsageError
from suites.mmlu.questions import CHOICES, Question, SubjectQuestions

COLUMNS = ("question", *(f"choice{index}" for index in range(CHOICES)), "answer")
_LETTERS, _DIGITS = "ABCD", "0123"
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


class CsvFolder:
    """Files called `<subject>_test.csv` and `<subject>_dev.csv`, in the folder or below it, hidden folders excepted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, subject: str) -> SubjectQuestions:
        """Raises UsageError with the file and line of an error."""
        test, dev = (tuple(read_questions(self._file(f"{subject}_{split}.csv"))) for split in ("test", "dev"))
        return SubjectQuestions(test, dev, str(self._folder))

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        files: dict[str, list[Path]] = {}
        for path in sorted(self._folder.rglob("*.csv")):
            if not any(part.startswith(".") for part in path.relative_to(self._folder).parts):
                files.setdefault(path.name, []).append(path)
        return files

    def _file(self, name: str) -> Path:
        found = self._files.get(name, [])
        if not found:
            packed = sorted(path.name for path in self._folder.iterdir() if path.name.endswith(_ARCHIVES))
            remedy = f"unpack {packed[0]} first" if packed else "name MMLU's folder with --data"
            raise UsageError(f"{self._folder}: no file {name} in it or below; {remedy}")
        if len(found) > 1:
            raise UsageError(f"{found[0]} and {found[1]} are both called {name}; keep one of them")
        return found[0]


def read_questions(path: Path) -> Iterator[Question]:
    """All questions of a file; UsageError names the file and line of an error."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _questions(path, file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read: {reason}; replace the file") from None


def _questions(path: Path, lines: Iterator[str]) -> Iterator[Question]:
    reader, name = csv.reader(lines, strict=True), str(path)
    columns, answers, width, line = itemgetter(*range(len(COLUMNS))), _LETTERS, len(COLUMNS), 1
    for number, row in enumerate(reader):
        where = f"{name}:{line}"
        line = reader.line_num + 1
        if number == 0 and _is_header(row):
            columns, answers, width = itemgetter(*_column_order(where, row)), _DIGITS, len(row)
        elif row and len(row) != width:
            raise UsageError(f"{where}: {len(row)} columns instead of {width}; quote a text that has a comma in it")
        elif row:
            yield _question(where, columns(row), answers)


def _is_header(row: Sequence[str]) -> bool:
    """Whether the row is a header, even one with a misspelt column, which is reported."""
    names = [name.strip().lower() for name in row]
    whole = COLUMNS[0] in names and COLUMNS[-1] in names
    return bool(names) and (whole or names[0] == COLUMNS[0] or names[-1] == COLUMNS[-1])


def _column_order(where: str, header: Sequence[str]) -> list[int]:
    names = [name.strip().lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UsageError(f"{where}: no column {missing[0]!r} among {', '.join(header)}; it must be {','.join(COLUMNS)}")
    return [names.index(name) for name in COLUMNS]


def _question(where: str, values: Sequence[str], answers: str) -> Question:
    """The question of a row, whose values are in the order of COLUMNS."""
    question, *choices, answer = values
    answer = answer.strip().upper()
    place = answers.find(answer) if len(answer) == 1 else -1
    if place < 0:
        problem = f"is {answer[:40]!r}" if answer else "is missing"
        raise UsageError(f"{where}: the answer {problem}; write one of {', '.join(answers)}")
    if not question.strip():
        raise UsageError(f"{where}: the question is empty")
    if not all(map(str.strip, choices)):
        empty = next(letter for letter, choice in zip(_LETTERS, choices, strict=True) if not choice.strip())
        raise UsageError(f"{where}: choice {empty} is empty; write it out (`None` is one that pandas leaves out)")
    return Question(question, tuple(choices), place)
