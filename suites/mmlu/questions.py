"""Questions of a subject, wherever they come from."""

import hashlib
import json
from dataclasses import astuple, dataclass
from typing import Protocol

from evalkit.records import CorpusUse

CHOICES = 4


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its four choices, and which of them is right."""

    question: str
    choices: tuple[str, ...]
    answer: int
    """Index of the right choice."""


@dataclass(frozen=True, slots=True)
class SubjectQuestions:
    """All questions of a subject."""

    test: tuple[Question, ...]
    """The ones that are asked."""
    dev: tuple[Question, ...]
    """The worked examples."""
    source: str
    """Where they were read: folder or hub id."""

    def use(self, subject: str) -> CorpusUse:
        """What a record says of them; the sha256 is over the questions themselves, whatever file they stood in."""
        rows = json.dumps([[astuple(question) for question in split] for split in (self.test, self.dev)])
        return CorpusUse(f"mmlu/{subject}", subject, hashlib.sha256(rows.encode()).hexdigest(), self.source)


class QuestionSource(Protocol):
    """Where questions come from."""

    def load(self, subject: str) -> SubjectQuestions:
        """Raises UsageError where they cannot be read, or are not as they should be."""
        ...
