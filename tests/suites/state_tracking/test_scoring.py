"""Exact match of one word, with a failure kind for wrong answers."""

import pytest

from evalkit.records import FailureKind, FinishReason
from suites.state_tracking.scoring import read_answer, score_answer


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (" odd\n\n1 0 1\nNumber of ones:", "odd"),
        ("Odd.", "odd"),
        (" the coin", "coin"),
        ("**coin**", "coin"),
        ("\n 7, because", "7"),
        ("", ""),
        (" . ", ""),
        ("the", "the"),
        (" 48213.", "48213"),
    ],
)
def test_the_first_word_is_read(text: str, word: str) -> None:
    assert read_answer(text) == word


@pytest.mark.parametrize(
    ("text", "finish", "failure"),
    [
        (" key", "length", None),
        (" KEY.", "length", None),
        ("", "stop", "empty"),
        (" coin", "length", "wrong_state"),
        (" under cup 3, key", "length", "wrong_format"),
        (" spoon\n key", "length", "other"),
        (" keyring", "stop", "other"),
        ("aaaaaaaaaaaa", "length", "budget_cut"),
    ],
)
def test_failures_are_distinguished(text: str, finish: FinishReason, failure: FailureKind | None) -> None:
    score = score_answer(text, "key", ("coin", "ring"), finish)
    assert (score.value, score.failure) == (1.0 if failure is None else 0.0, failure)


def test_a_number_with_separators_is_a_wrong_format() -> None:
    assert score_answer(" 48,213", "48213", ("11111",), "stop").failure == "wrong_format"
