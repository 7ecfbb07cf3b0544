"""Draws: fair, named, and the same everywhere."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.draws import Draws
from suites.ruler import words
from suites.ruler.questions import question_index


def test_a_name_gives_the_same_draws_for_ever() -> None:
    draws = Draws(42, "niah_single_1", 4096, 0, "content")
    assert [draws.below(1000) for _ in range(8)] == [200, 73, 589, 481, 144, 761, 660, 58]


@given(st.integers(1, 400), st.integers(0, 1000))
def test_an_order_holds_everything_once(count: int, seed: int) -> None:
    assert sorted(Draws(seed).order(count)) == list(range(count))


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 1000))
def test_taking_more_of_an_order_keeps_what_came_first(count: int, taken: int, seed: int) -> None:
    whole = list(Draws(seed).order(count))
    part = [index for index, _ in zip(Draws(seed).order(count), range(taken), strict=False)]
    assert part == whole[: len(part)]


def test_orders_and_shuffles_are_fair() -> None:
    orders = Counter(tuple(Draws("order", seed).order(3)) for seed in range(6000))
    shuffles: Counter[tuple[int, ...]] = Counter()
    for seed in range(6000):
        items = [0, 1, 2]
        Draws("shuffle", seed).shuffle(items)
        shuffles[tuple(items)] += 1
    for counts in (orders, shuffles):
        assert len(counts) == 6
        assert all(850 < count < 1150 for count in counts.values())


def test_a_sample_is_fair_and_holds_nothing_twice() -> None:
    pairs = Counter(tuple(Draws("sample", seed).sample("abc", 2)) for seed in range(6000))
    assert set(pairs) == {(one, other) for one in "abc" for other in "abc" if one != other}
    assert all(850 < count < 1150 for count in pairs.values())
    with pytest.raises(ValueError, match="4 of 3 cannot be drawn"):
        Draws(0).sample("abc", 4)


def test_parts_are_not_run_together() -> None:
    assert Draws(1, 23).fraction() != Draws(12, 3).fraction()


@given(st.integers(1, 5000), st.integers(0, 10**6))
def test_questions_are_all_asked_before_one_comes_again(count: int, seed: int) -> None:
    indices = {question_index(count, Draws(seed), index) for index in range(count)}
    assert indices == set(range(count))
    assert question_index(count, Draws(seed), count) == question_index(count, Draws(seed), 0)


def test_numbers_and_uuids_cover_their_range() -> None:
    draws = Draws("range")
    numbers = [int(words.draw("numbers", draws)) for _ in range(4000)]
    assert all(10**6 <= number < 10**7 for number in numbers)
    assert min(numbers) < 1.02 * 10**6
    assert max(numbers) > 9.98 * 10**6
    uuids = [words.draw("uuids", draws) for _ in range(200)]
    assert len(set(uuids)) == 200
    assert {uuid[14] for uuid in uuids} == {"4"}


def test_distinct_draws_pass_over_what_is_taken() -> None:
    taken = {words.draw("words", Draws("distinct"))}
    first = next(words.distinct("words", Draws("distinct"), taken))
    assert first in taken
    assert len(taken) == 2


def test_an_unknown_kind_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no such kind"):
        words.draw("colours", Draws())


def test_the_lists_are_those_of_the_pinned_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(words.word_lists().nouns) == 6786
    assert len(words.every_word()) == len(set(words.every_word()))
    use = words.words_use()
    assert (use.role, use.name) == ("words", "wonderwords 2.2.0")


def test_other_lists_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.errors import UsageError

    monkeypatch.setitem(words._SHA256, "nounlist.txt", "0" * 64)
    with pytest.raises(UsageError, match=r"pip install wonderwords==2\.2\.0"):
        words._read("nounlist.txt")
