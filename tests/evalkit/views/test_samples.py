"""Samples as a reader browses them: answers, and excerpts of prompts with the evidence for the right answer."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.pairing import pair_runs
from evalkit.records import Excerpt, Sample, SampleKey
from evalkit.running.excerpts import LONGEST, excerpts
from evalkit.views.samples import (
    LONGEST_ANSWER,
    Filters,
    Piece,
    comparison_views,
    folded,
    pieces_of,
    run_views,
    thought_note,
)
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, changed, make_run, make_samples
from tests.evalkit.sample_records import sample_record

SPEC = RunSpec({("vt", 4096): [1.0, 0.0, ERRORED, UNSCORED, 1.0], ("cwe", 65536): [0.5]})


def test_what_failed_comes_first() -> None:
    views = {view.id: view for view in run_views(make_samples(SPEC))}
    assert views["vt/4096/1/42"].pieces == (Piece("prompt", 0, ("prompt of ", "vt/4096/1/42", "")),)
    assert [(view.id[:-3], view.failed) for view in views.values()] == [
        ("cwe/65536/0", True),
        ("vt/4096/1", True),
        ("vt/4096/2", True),
        ("vt/4096/3", True),
        ("vt/4096/0", False),
        ("vt/4096/4", False),
    ]
    (answer,) = views["vt/4096/3/42"].answers
    assert answer is not None
    assert (answer.problem, answer.right, views["vt/4096/3/42"].pieces) == ("it does not fit", False, ())
    assert Filters.of(views.values()) == Filters(
        ("cwe", "vt"), (4096, 65536), ("0.5-0.6",), ("partial", "wrong_needle")
    )


def test_a_loss_is_neither_right_nor_changed(tmp_path: Path) -> None:
    base = RunSpec({("text", 4096): [0.5, 0.6]}, suite="loss", metric="bits_per_byte")
    new = changed(base, {("text", 4096): [0.4, 0.7]})
    views = comparison_views([pair_runs(make_run(tmp_path / "base", base), make_run(tmp_path / "new", new))])
    assert [(view.failed, view.change) for view in views] == [(False, "")] * 2
    assert {answer.right for view in views for answer in view.answers if answer} == {None}


def test_a_comparison_shows_both_answers_to_one_prompt(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0, 1.0, 0.0, 1.0]})
    new = changed(base, {("vt", 4096): [1.0, 0.0, 1.0, 0.5]}, prediction="x" * (LONGEST_ANSWER + 1))
    third = changed(base, {("vt", 4096): [1.0, 1.0, 1.0]}, model="./third", weights="third")
    of_base = make_run(tmp_path / "base", base)
    others = [make_run(tmp_path / name, spec) for name, spec in (("new", new), ("third", third))]
    views = comparison_views([pair_runs(of_base, other) for other in others])
    assert [len(view.pieces) for view in views] == [1, 1, 1, 1]
    assert [(view.id, view.change, view.failed) for view in views] == [
        ("vt/4096/1/42", "worse", True),
        ("vt/4096/3/42", "worse", True),
        ("vt/4096/2/42", "better", False),
        ("vt/4096/0/42", "", False),
    ]
    scores = [[None if answer is None else answer.score for answer in view.answers] for view in views]
    assert scores == [[1.0, 0.0, 1.0], [1.0, 0.5, None], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    assert max(len(answer.prediction) for view in views for answer in view.answers if answer) == LONGEST_ANSWER


def test_pieces_say_where_they_stand() -> None:
    kept = (Excerpt(0, "ab"), Excerpt(40, "cdefg", ((1, 2), (3, 5))), Excerpt(90, "0123456789"))
    assert pieces_of(kept) == (
        Piece("start of the prompt", 0, ("ab",)),
        Piece("41% into the prompt", 40, ("c", "d", "e", "fg", "")),
        Piece("end of the prompt", 90, ("0123456789",)),
    )
    assert pieces_of(()) == ()


@given(
    st.lists(
        st.builds(
            Excerpt,
            st.integers(-9, 9),
            st.text(max_size=9) | st.just("x" * 9000),
            st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), max_size=3).map(tuple),
        ),
        max_size=12,
    )
)
def test_excerpts_that_nobody_could_have_stored_are_shown_short(kept: list[Excerpt]) -> None:
    pieces = pieces_of(kept)
    assert len(pieces) <= 7
    assert all(len(part) <= LONGEST for piece in pieces for part in piece.parts)


@given(st.text(max_size=3000), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 200)), max_size=8))
def test_parts_are_the_excerpts_text_and_every_second_one_is_marked(prompt: str, places: list[tuple[int, int]]) -> None:
    evidence = tuple((start, min(start + size, len(prompt))) for start, size in places if start <= len(prompt))
    sample = Sample(SampleKey("vt", 0, 0, 0), prompt, "", (), 0, 0, "all", evidence=evidence)
    for piece in pieces_of(excerpts(sample)):
        place = piece.start
        for number, part in enumerate(piece.parts):
            assert prompt.startswith(part, place)
            if number % 2:
                assert any(start <= at < end for start, end in evidence for at in (place, place + len(part) - 1))
            place += len(part)


def test_long_thoughts_are_folded_to_their_ends() -> None:
    text = "a" * 3000 + "b" * 3000
    sample = sample_record("vt", 4096, 0, 0.0, thought=text, thought_tokens=1500, thought_end="forced")
    ((answer,),) = (view.answers for view in run_views([sample]))
    assert answer is not None
    assert answer.thought_note == "1,500 tokens, closed by force"
    assert answer.thought == "a" * 1000 + "\n[… 4,000 characters …]\n" + "b" * 1000
    assert folded("abc", 3) == "abc"
    notes = [
        thought_note(sample_record("vt", 4096, 0, 0.0, thought="", thought_tokens=0, thought_end=end))
        for end in ("absent", "unclosed", "closed", "of a newer version", None)
    ]
    assert notes == ["no thought", "0 tokens, never closed", "0 tokens", "0 tokens, of a newer version", ""]
