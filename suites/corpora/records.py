"""Records of corpora for suites; immutable, so that they are loaded once per process."""

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.records import CorpusUse


@dataclass(frozen=True, slots=True)
class Essays:
    """Running prose, the haystack of the needle tasks."""

    use: CorpusUse
    """Role `essays`."""
    sentences: Sequence[str]
    """In reading order; no newlines, single spaces inside, each ends as a sentence. Joined by one space."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question over the documents of its corpus."""

    question: str
    answers: tuple[str, ...]
    """Aliases; the first is the canonical answer."""
    gold: tuple[int, ...]
    """Indices into `QuestionCorpus.documents` of the documents with the answer."""
    related: tuple[int, ...]
    """Preferred distractors: paragraphs of the same article (SQuAD), the question's other documents (HotpotQA)."""


@dataclass(frozen=True, slots=True)
class QuestionCorpus:
    """Documents and the questions they answer."""

    use: CorpusUse
    """Role `squad` or `hotpotqa`."""
    documents: tuple[str, ...]
    """In the form of the prompt: the paragraph (SQuAD), or title, newline, text (HotpotQA); without duplicates."""
    questions: tuple[Question, ...]
    """In file order; for SQuAD v2 only the answerable ones."""
