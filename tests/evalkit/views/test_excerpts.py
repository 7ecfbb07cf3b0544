"""Pieces of a prompt are its own text at its own place."""

from hypothesis import given
from hypothesis import strategies as st

from evalkit.views.excerpts import excerpts


def test_a_needle_is_shown_in_its_place() -> None:
    prompt = "a" * 2000 + " The number is 1234567. " + "b" * 3000
    head, needle, tail = excerpts(prompt, ("1234567",))
    assert (head.start, head.text) == (0, "a" * 300)
    assert "The number is 1234567." in needle.text
    assert needle.label == "1234567 in place, 40% into the prompt"
    assert prompt.endswith(tail.text)


def test_a_short_prompt_is_one_piece() -> None:
    (only,) = excerpts("What is 1 + 2?", ("3",))
    assert only.text == "What is 1 + 2?"


@given(st.text(max_size=3000), st.lists(st.text(max_size=5), max_size=4))
def test_pieces_are_the_prompts_own_text_in_order(prompt: str, targets: list[str]) -> None:
    pieces = excerpts(prompt, tuple(targets))
    assert all(prompt[piece.start :].startswith(piece.text) for piece in pieces)
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)
