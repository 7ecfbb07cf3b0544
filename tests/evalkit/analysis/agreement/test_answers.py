"""Answers become comparable tokens, whatever a server shows of them."""

import pytest

from evalkit.analysis.agreement.answers import AnswerComparison, Sides, distinct
from evalkit.analysis.agreement.rounding import Rounding
from evalkit.records import Completion, FinishReason
from model_adapters.scripted import ScriptedTokenizer

END = 999
"""Not an id that the tokenizer gives."""


def comparison() -> AnswerComparison:
    adapter = None
    sides = Sides(adapter, adapter, adapter, (END, END + 1))  # type: ignore[arg-type]  # no adapter is asked
    return AnswerComparison(sides, ScriptedTokenizer(), Rounding((), (), 0.1, 1.5, "float32"))


def completion(text: str, finish_reason: FinishReason, token_ids: tuple[int, ...] | None = None) -> Completion:
    return Completion("0", text, 3, 3, finish_reason, None, None, token_ids=token_ids)


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("one two", "length", ()),
        ("one two", "stop", (END,)),
        ("one", "length", None),
        ("one three", "length", None),
        ("", "stop", None),
    ],
)
def test_a_text_is_read_as_the_other_answer_as_far_as_both_agree(
    text: str, finish: FinishReason, expected: tuple[int, ...] | None
) -> None:
    encode = ScriptedTokenizer().encode
    like = tuple(encode("one two"))
    found = comparison().tokens(completion(text, finish), like)
    ended = (END,) if finish == "stop" else ()
    assert found == ((*encode(text), *ended) if expected is None else (*like, *expected))


def test_a_token_that_ended_the_answer_is_compared_whether_it_is_shown_or_not() -> None:
    words = tuple(ScriptedTokenizer().encode("one two"))
    compare = comparison().tokens
    like = (*words, END + 1)
    assert compare(completion("one two", "stop"), like) == like
    assert compare(completion("one two", "length"), like) == like, "the budget ended with the token"
    assert compare(completion("one", "length"), like) == words[: len(ScriptedTokenizer().encode("one"))]
    assert compare(completion("one two", "stop", like), words) == like
    assert compare(completion("one two", "stop", words), words) == (*words, END)


def test_failures_are_counted_once_each() -> None:
    assert distinct(["a", "b", "a"]) == ("a (2 times)", "b")
