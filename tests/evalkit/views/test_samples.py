"""Samples as a reader browses them: answers, and excerpts of prompts with the evidence for the right answer."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.pairing import pair_runs
from evalkit.records import Excerpt, Sample, SampleKey
from evalkit.running.excerpts import LONGEST, excerpts
from evalkit.views.samples import (
    LONGEST_ANSWER,
    Piece,
    comparison_views,
    pieces_of,
    run_views,
    tasks_and_lengths,
)
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, changed, make_run, make_samples

SPEC = RunSpec({("vt", 4096): [1.0, 0.0, ERRORED, UNSCORED, 1.0], ("cwe", 65536): [0.5]})


def test_a_run_is_shown_in_its_order() -> None:
    views = {view.id: view for view in run_views(make_samples(SPEC))}
    assert views["vt/4096/1/42"].pieces == (Piece("prompt", 0, ("prompt of ", "vt/4096/1/42", "")),)
    assert [view.failed for view in views.values()] == [False, True, True, True, False, True]
    assert (views["vt/4096/3/42"].new.problem, views["vt/4096/3/42"].pieces) == ("it does not fit", ())
    assert tasks_and_lengths(list(views.values())) == (["vt", "cwe"], [4096, 65536])


def test_a_comparison_shows_both_answers_to_one_prompt(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0, 1.0, 0.0, 1.0]})
    new = changed(base, {("vt", 4096): [1.0, 0.0, 1.0, 0.5]}, prediction="x" * (LONGEST_ANSWER + 1))
    views = comparison_views(pair_runs(make_run(tmp_path / "base", base), make_run(tmp_path / "new", new)))
    assert [len(view.pieces) for view in views] == [1, 1, 1, 1]
    assert [view.flipped for view in views] == [False, True, True, True]
    assert views[0].base is not None
    assert len(views[0].new.prediction) == LONGEST_ANSWER


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
