"""Questions of a subject, from any source."""

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol

from evalkit.records import CorpusUse

CHOICES = 4


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its four choices and the right one."""

    question: str
    choices: tuple[str, ...]
    answer: int
    """Index of the right choice."""


@dataclass(frozen=True, slots=True)
class SubjectQuestions:
    """All questions of a subject."""

    test: tuple[Question, ...]
    """The test questions."""
    dev: tuple[Question, ...]
    """The worked examples."""
    source: str
    """Source: folder or hub id."""

    def use(self, subject: str) -> CorpusUse:
        """The corpus for the record; its sha256 is that of the questions, not of their file."""
        splits = self.test, self.dev
        rows = json.dumps([[(each.question, each.choices, each.answer) for each in split] for split in splits])
        return CorpusUse(f"mmlu/{subject}", subject, hashlib.sha256(rows.encode()).hexdigest(), self.source)


class QuestionSource(Protocol):
    """A source of questions."""

    def load(self, subject: str) -> SubjectQuestions:
        """Raises UsageError if they cannot be read or are malformed."""
        ...
