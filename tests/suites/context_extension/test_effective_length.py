"""Effective lengths by three rules, and their intervals."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.statistics.effective_length import EffectiveLength, effective_length
from suites.context_extension.effective_length import Scores, above_baseline, above_fixed, above_own_share, collect
from tests.evalkit.sample_records import sample_record


def scores(by_length: dict[int, list[list[float]]]) -> Scores:
    return {
        ctx: {
            f"t{place}": {f"{place}/{index}": value for index, value in enumerate(cell)}
            for place, cell in enumerate(cells)
        }
        for ctx, cells in by_length.items()
    }


def answers(right: int, n: int) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def fixed(by_length: dict[int, list[list[float]]]) -> EffectiveLength:
    found = effective_length(above_fixed(scores(by_length)))
    assert found is not None
    return found


def own_share(by_length: dict[int, list[list[float]]]) -> EffectiveLength:
    found = effective_length(above_own_share(scores(by_length)))
    assert found is not None
    return found


def test_all_smaller_lengths_must_pass() -> None:
    cells = {4096: [answers(980, 1000)], 8192: [answers(700, 1000)], 16384: [answers(980, 1000)]}
    assert fixed(cells) == EffectiveLength(4096, 4096, 4096)


def test_the_mean_is_over_tasks_and_not_over_samples() -> None:
    assert fixed({4096: [answers(500, 500), answers(25, 50)]}) == EffectiveLength(0, 0, 0)


def test_twelve_right_answers_do_not_show_an_effective_length() -> None:
    """Three tasks with four right answers: the exact lower bound of their mean is 73.5, below 85.6."""
    cells = {8192: [answers(4, 4)] * 3}
    found = fixed(cells)
    assert (found.tokens, found.low, found.high) == (8192, 0, 8192)
    assert above_fixed(scores(cells))[8192].interval()[0] + 0.856 == pytest.approx(0.735, abs=0.001)


def test_the_own_share_is_taken_of_the_shortest_length() -> None:
    cells = {4096: [answers(600, 1000)], 8192: [answers(570, 1000)], 16384: [answers(400, 1000)]}
    assert own_share(cells) == EffectiveLength(8192, 8192, 8192)
    exact = {4096: [[0.6] * 5], 8192: [[0.51] * 5], 16384: [[0.509] * 5]}
    assert own_share(exact).tokens == 8192


def test_nothing_is_no_share_of_nothing() -> None:
    found = own_share({4096: [[0.0] * 5], 8192: [[0.0] * 5]})
    assert (found.tokens, found.low) == (0, 0)


def test_few_samples_near_the_threshold_leave_it_open() -> None:
    found = fixed({4096: [answers(60, 60)], 8192: [answers(17, 20)]})
    assert (found.tokens, found.low, found.high) == (4096, 4096, 8192)


def test_the_interval_covers_the_true_length() -> None:
    """With true accuracies 95, 90 and 70 the effective length is 8,192, and at most about 5 % of intervals miss it."""
    rng = random.Random(0)
    missed = 0
    for _ in range(60):
        cells = {
            ctx: [answers(sum(rng.random() < share for _ in range(60)), 60) for _ in range(2)]
            for ctx, share in ((4096, 0.95), (8192, 0.90), (16384, 0.70))
        }
        found = fixed(cells)
        missed += not found.low <= 8192 <= found.high
    assert missed <= 7


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=1, max_size=3))
def test_the_point_is_what_a_loop_finds(values: list[list[int]]) -> None:
    cells = {1024 * 2**place: [[value / 20 for value in cell]] for place, cell in enumerate(values)}
    expected = 0
    for ctx, (cell,) in cells.items():
        if np.mean(cell) < 0.856:
            break
        expected = ctx
    found = fixed(cells)
    assert found.tokens == expected
    assert found.low <= found.tokens <= found.high


def test_a_baseline_is_paired_by_sample() -> None:
    own: Scores = {4096: {"t": {"a": 1.0, "b": 0.0, "c": 1.0}}, 8192: {"t": {"a": 1.0}}}
    other: Scores = {4096: {"t": {"b": 0.5, "a": 0.25}}}
    margins = above_baseline(own, other)
    assert list(margins) == [4096]
    assert sorted(margins[4096].differences) == [-0.5, 0.75]
    found = effective_length(margins)
    assert found is not None
    assert (found.tokens, found.low, found.high) == (4096, 0, 4096)


def test_equal_scores_are_not_better_than_the_baseline() -> None:
    own: Scores = {4096: {"t": {"a": 1.0, "b": 0.0}}}
    found = effective_length(above_baseline(own, own))
    assert found is not None
    assert found.tokens == 0


def test_a_length_that_lacks_a_task_is_left_out() -> None:
    records = [
        sample_record("vt", 4096, 0, 1.0),
        sample_record("cwe", 4096, 0, 0.5),
        sample_record("vt", 8192, 0, 1.0),
        sample_record("cwe", 8192, 0, None),
    ]
    assert collect(records, ("vt", "cwe")) == {4096: {"vt": {"vt/4096/0/42": 1.0}, "cwe": {"cwe/4096/0/42": 0.5}}}


@pytest.mark.parametrize("margins", [above_fixed({}), above_own_share({}), above_baseline({}, {})])
def test_without_scores_there_is_no_length(margins: dict[int, object]) -> None:
    assert effective_length(margins) is None  # type: ignore[arg-type]  # three types of margins
