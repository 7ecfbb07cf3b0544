"""Documents and questions from SQuAD's and HotpotQA's published JSON."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from evalkit.errors import UsageError
from evalkit.records.codec import misfit
from suites.corpora.records import Question

Parsed = tuple[tuple[str, ...], tuple[Question, ...]]
T = TypeVar("T")

_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]


@dataclass(frozen=True, slots=True)
class _Answer:
    text: _Text


@dataclass(frozen=True, slots=True)
class _SquadQuestion:
    question: _Text
    answers: tuple[_Answer, ...] = ()
    is_impossible: bool = False


@dataclass(frozen=True, slots=True)
class _Paragraph:
    context: _Text
    qas: tuple[_SquadQuestion, ...]


@dataclass(frozen=True, slots=True)
class _Article:
    paragraphs: tuple[_Paragraph, ...]


@dataclass(frozen=True, slots=True)
class _Squad:
    data: tuple[_Article, ...]


@dataclass(frozen=True, slots=True)
class _HotpotQuestion:
    question: _Text
    answer: _Text
    context: tuple[tuple[str, tuple[str, ...]], ...]
    """Titles with their sentences."""
    supporting_facts: tuple[tuple[str, Any], ...]
    """Titles, and numbers of sentences that are not needed here."""


def parse_squad(data: bytes, shown: str) -> Parsed:
    """SQuAD v2 (arXiv 1806.03822): paragraphs as documents, answerable questions in file order.

    `answer_start` and `plausible_answers` are not needed. Raises UsageError with the file and the place in it.
    """
    file = f"{shown}: not SQuAD v2 JSON", "use dev-v2.0.json as published"
    places: dict[str, int] = {}
    questions: list[Question] = []
    for a, article in enumerate(_decode(_Squad, data, *file).data):
        indices = [places.setdefault(paragraph.context, len(places)) for paragraph in article.paragraphs]
        for p, (paragraph, index) in enumerate(zip(article.paragraphs, indices, strict=True)):
            related = tuple(dict.fromkeys(other for other in indices if other != index))
            for q, asked in enumerate(paragraph.qas):
                answers = tuple(dict.fromkeys(answer.text for answer in asked.answers))
                if not answers and not asked.is_impossible:
                    raise _error(f"data[{a}].paragraphs[{p}].qas[{q}] is marked answerable and has no answer", *file)
                if not asked.is_impossible:
                    questions.append(Question(asked.question, answers, (index,), related))
    if not questions:
        raise _error("it has no answerable question", *file)
    return tuple(places), tuple(questions)


def parse_hotpotqa(data: bytes, shown: str) -> Parsed:
    """HotpotQA (arXiv 1809.09600): `title`, newline, text as documents; the supporting ones are gold.

    Raises UsageError with the file and the place in it.
    """
    file = f"{shown}: not HotpotQA JSON", "use hotpot_dev_distractor_v1.json as published"
    places: dict[str, int] = {}
    questions: list[Question] = []
    for number, asked in enumerate(_decode(tuple[_HotpotQuestion, ...], data, *file)):
        titled = [(title, f"{title}\n{''.join(sentences)}") for title, sentences in asked.context]
        indices = {places.setdefault(text, len(places)): title for title, text in titled}
        supporting = {title for title, _ in asked.supporting_facts}
        gold = tuple(index for index, title in indices.items() if title in supporting)
        if not gold:
            raise _error(f"[{number}] has none of its supporting documents in `context`", *file)
        related = tuple(index for index in indices if index not in gold)
        questions.append(Question(asked.question, (asked.answer,), gold, related))
    if not questions:
        raise _error("it has no question", *file)
    return tuple(places), tuple(questions)


def _decode(kind: type[T], data: bytes, complaint: str, remedy: str) -> T:
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=kind)
    except msgspec.MsgspecError as error:
        raise _error(misfit(error), complaint, remedy) from None
    except UnicodeDecodeError:
        raise _error("it is not UTF-8", complaint, remedy) from None
    except RecursionError:
        raise _error("it is nested too deep", complaint, remedy) from None


def _error(what: str, complaint: str, remedy: str) -> UsageError:
    return UsageError(f"{complaint}: {what}; {remedy}, or remove the file")
