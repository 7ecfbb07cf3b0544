"""Excerpts of a prompt are its own text at the recorded place, and short."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import Sample, SampleKey
from evalkit.running.excerpts import AROUND_CHARACTERS, LONGEST, excerpts, places_of


def sample(prompt: str, *evidence: tuple[int, int]) -> Sample:
    return Sample(SampleKey("vt", 0, 0, 0), prompt, "", (), 0, 0, "all", evidence=evidence)


def test_a_needle_is_kept_with_its_surroundings() -> None:
    prompt = "a" * 2000 + " The number is 1234567. " + "b" * 3000
    head, needle, tail = excerpts(sample(prompt, *places_of(prompt, ["1234567"])))
    assert (head.start, head.text) == (0, "a" * 160)
    assert needle.text == prompt[needle.start : needle.start + 2 * AROUND_CHARACTERS + 7]
    assert [needle.text[start:end] for start, end in needle.marks] == ["1234567"]
    assert prompt.endswith(tail.text)
    assert (len(tail.text), tail.marks) == (480, ())


def test_a_short_prompt_is_kept_whole() -> None:
    (only,) = excerpts(sample("What is 1 + 2?", (8, 13)))
    assert (only.start, only.text, only.marks) == (0, "What is 1 + 2?", ((8, 13),))
    (nothing,) = excerpts(sample(""))
    assert nothing.text == ""


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (("paris", "seine"), ["Paris", "Seine"]),
        (("par",), []),
        (("sein",), []),
        (("B",), []),
        (("4 (four)",), ["4 (four)"]),
        (("London",), []),
    ],
)
def test_targets_are_found_as_words(targets: tuple[str, ...], found: list[str]) -> None:
    text = "Comparison: B of Paris, on the Seine, and 4 (four) of it. Paris!"
    assert [text[start:end] for start, end in places_of(text, targets)] == found


@given(st.text(max_size=6000), st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 400)), max_size=12))
def test_pieces_are_the_prompts_own_text_in_order_and_few(prompt: str, places: list[tuple[int, int]]) -> None:
    evidence = [(start, min(start + size, len(prompt))) for start, size in places if start <= len(prompt)]
    kept = excerpts(sample(prompt, *evidence))
    assert all(prompt.startswith(piece.text, piece.start) for piece in kept)
    ends = [(piece.start, piece.start + len(piece.text)) for piece in kept]
    assert all(end < start for (_, end), (start, _) in pairwise(ends))
    assert (ends[0][0], ends[-1][1]) == (0, len(prompt))
    assert sum(len(piece.text) for piece in kept) <= LONGEST
    for piece in kept:
        borders = [border for mark in piece.marks for border in mark]
        assert borders == sorted(borders)
        assert not borders or (borders[0] >= 0 and borders[-1] <= len(piece.text))
