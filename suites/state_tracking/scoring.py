"""Exact match of the one-word answer, and the kind of a failure."""

import re
from collections.abc import Sequence

from evalkit.records import FailureKind, FinishReason, Score

METRIC = "exact_match"
_ARTICLES = ("the", "a", "an")
_MARKS = ".,;:!?()[]{}<>\"'`*_#"


def read_answer(text: str) -> str:
    """The first word of a completion in lower case, without marks around it and without an article before it."""
    words = [word.strip(_MARKS).casefold() for word in text.split()]
    words = [word for word in words if word]
    if len(words) > 1 and words[0] in _ARTICLES:
        return words[1]
    return words[0] if words else ""


def score_answer(text: str, answer: str, alternatives: Sequence[str], finish_reason: FinishReason) -> Score:
    """1 if the first word is the answer, else 0 with the kind of failure."""
    found = read_answer(text)
    if found == answer.casefold():
        return Score(1.0)
    return Score(0.0, _failure(text, found, answer, alternatives, finish_reason))


def _failure(
    text: str, found: str, answer: str, alternatives: Sequence[str], finish_reason: FinishReason
) -> FailureKind:
    if not found:
        return "empty"
    if found in (alternative.casefold() for alternative in alternatives):
        return "wrong_state"
    first_line = text.strip().splitlines()[0]
    if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", first_line, re.IGNORECASE) or _digits(found) == answer:
        return "wrong_format"
    return "budget_cut" if finish_reason == "length" and len(text.split()) == 1 else "other"


def _digits(word: str) -> str:
    return word.replace(",", "").replace(".", "")
