"""Effective lengths by three rules, and their intervals."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.context_extension.effective_length import (
    EffectiveLength,
    Scores,
    above_fixed,
    above_own_share,
    above_zero,
    collect,
    differences,
    effective_length,
)
from tests.suites.context_extension.records import scored


def scores(by_length: dict[int, list[list[float]]]) -> Scores:
    return {
        ctx: {
            f"t{place}": {f"{place}/{index}": value for index, value in enumerate(cell)}
            for place, cell in enumerate(cells)
        }
        for ctx, cells in by_length.items()
    }


def test_all_smaller_lengths_must_pass() -> None:
    given_scores = scores({4096: [[90.0] * 9], 8192: [[80.0] * 9], 16384: [[95.0] * 9]})
    assert effective_length(given_scores, above_fixed, seed=0) == EffectiveLength(4096, 4096, 4096)


def test_the_mean_is_over_tasks_and_not_over_samples() -> None:
    given_scores = scores({4096: [[100.0] * 99, [60.0]]})
    assert effective_length(given_scores, above_fixed, seed=0) == EffectiveLength(0, 0, 0)


def test_the_own_share_is_taken_of_the_shortest_length() -> None:
    given_scores = scores({4096: [[60.0] * 5], 8192: [[51.0] * 5], 16384: [[50.9] * 5]})
    assert effective_length(given_scores, above_own_share, seed=0) == EffectiveLength(8192, 8192, 8192)


def test_nothing_is_no_share_of_nothing() -> None:
    given_scores = scores({4096: [[0.0] * 5], 8192: [[0.0] * 5]})
    assert effective_length(given_scores, above_own_share, seed=0) == EffectiveLength(0, 0, 0)


def test_few_samples_near_the_threshold_leave_it_open() -> None:
    given_scores = scores({4096: [[100.0] * 20], 8192: [[100.0] * 17 + [0.0] * 3]})
    found = effective_length(given_scores, above_fixed, seed=0)
    assert found is not None
    assert (found.tokens, found.low, found.high) == (4096, 4096, 8192)


def test_the_interval_covers_the_true_length() -> None:
    """True accuracies 95, 90 and 70: the effective length is 8,192, and at most about 5 % of intervals miss it."""
    rng = random.Random(0)
    missed = 0
    for _ in range(100):
        cells = {
            ctx: [[100.0 * (rng.random() < share) for _ in range(60)] for _ in range(2)]
            for ctx, share in ((4096, 0.95), (8192, 0.90), (16384, 0.70))
        }
        found = effective_length(scores(cells), above_fixed, seed=0)
        assert found is not None
        missed += not found.low <= 8192 <= found.high
    assert missed <= 9


@given(st.lists(st.lists(st.floats(0, 100), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_point_is_what_a_loop_finds(values: list[list[float]]) -> None:
    given_scores = scores({1024 * 2**place: [cell] for place, cell in enumerate(values)})
    expected = 0
    for ctx, cells in given_scores.items():
        if np.mean(list(cells["t0"].values())) < 85.6:
            break
        expected = ctx
    found = effective_length(given_scores, above_fixed, seed=1)
    assert found is not None
    assert found.tokens == expected
    assert found.low <= found.high


def test_differences_pair_samples_by_id() -> None:
    own: Scores = {4096: {"t": {"a": 100.0, "b": 0.0, "c": 100.0}}, 8192: {"t": {"a": 100.0}}}
    other: Scores = {4096: {"t": {"b": 50.0, "a": 25.0}}}
    assert differences(own, other) == {4096: {"t": {"a": 75.0, "b": -50.0}}}
    found = effective_length(differences(own, other), above_zero, seed=0)
    assert found is not None
    assert (found.tokens, found.low, found.high) == (4096, 0, 4096)


def test_a_length_that_lacks_a_task_is_left_out() -> None:
    records = [
        scored("vt", 4096, 0, 1.0),
        scored("cwe", 4096, 0, 0.5),
        scored("vt", 8192, 0, 1.0),
        scored("cwe", 8192, 0, None),
    ]
    assert collect(records, ("vt", "cwe")) == {4096: {"vt": {"vt/4096/0/42": 100.0}, "cwe": {"cwe/4096/0/42": 50.0}}}


@pytest.mark.parametrize("rule", [above_fixed, above_own_share, above_zero])
def test_without_scores_there_is_no_length(rule: object) -> None:
    assert effective_length({}, rule, seed=0) is None  # type: ignore[arg-type]
