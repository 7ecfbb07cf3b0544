"""Ranks come from differences between models, paired if they answered the same samples."""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.leaderboard import build_leaderboard
from evalkit.analysis.ranking import rank
from tests.evalkit.run_factory import RunSpec, Score, board_run, make_run, simulate

TASKS = [(name, 4096) for name in ("vt", "cwe", "fwe", "qa_1")]
Scores = dict[tuple[str, int], list[Score]]


def ranks(tmp_path: Path, *specs: RunSpec) -> dict[str, int | None]:
    runs = [board_run(make_run(tmp_path / f"run-{number}", spec)) for number, spec in enumerate(specs)]
    return {row.model: row.rank for row in build_leaderboard(runs).boards[0].rows}


def model(name: str, scores: Scores) -> RunSpec:
    return RunSpec(scores, model=name, weights=name)


def answers(right: int, n: int) -> list[Score]:
    return [*[1.0] * right, *[0.0] * (n - right)]


def test_a_rank_ends_at_the_first_that_is_significantly_worse() -> None:
    apart = {(0, 2), (0, 3), (2, 3)}

    def worse(leader: int, others: Sequence[int]) -> list[bool]:
        return [(leader, other) in apart for other in others]

    assert rank([90, 89, 80, 60], worse) == [1, 1, 3, 4]
    assert rank([60, 90, 89], lambda leader, others: [False] * len(others)) == [1, 1, 1]
    assert rank([5.0], worse) == [1]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_a_rank_never_falls_as_a_value_rises(values: list[float], drawn: random.Random) -> None:
    given_ranks = rank(values, lambda leader, others: [drawn.random() < 0.3 for _ in others])
    for (left, rank_left), (right, rank_right) in itertools.permutations(zip(values, given_ranks, strict=True), 2):
        if left > right:
            assert rank_left <= rank_right


def test_pairs_separate_what_overlapping_intervals_do_not(tmp_path: Path) -> None:
    """Twelve samples of 200 lost and none won: the intervals overlap widely, but the sign test has p = 0.0005."""
    better = simulate(np.random.default_rng(0), dict.fromkeys(TASKS, 0.8), 50)
    worse = {cell: _without_the_first_right(scores, 3) for cell, scores in better.items()}
    assert ranks(tmp_path / "paired", model("a", better), model("b", worse)) == {"a": 1, "b": 2}
    other_seed = replace(model("b", worse), seed=7)
    assert ranks(tmp_path / "unpaired", model("a", better), other_seed) == {"a": 1, "b": 1}


def _without_the_first_right(scores: Sequence[Score], count: int) -> list[Score]:
    lost = [index for index, score in enumerate(scores) if score == 1.0][:count]
    return [0.0 if index in lost else score for index, score in enumerate(scores)]


def test_models_without_a_significant_difference_share_a_rank(tmp_path: Path) -> None:
    """One flip in 200: the better model leads without being significantly better."""
    base: Scores = {cell: answers(45, 50) for cell in TASKS}
    flipped: Scores = {**base, TASKS[0]: answers(44, 50)}
    far: Scores = {cell: answers(20, 50) for cell in TASKS}
    assert ranks(tmp_path, model("a", base), model("b", flipped), model("c", far)) == {"a": 1, "b": 1, "c": 3}


@pytest.mark.parametrize("samples", [1, 5])
def test_few_samples_rank_nobody_below_another(tmp_path: Path, samples: int) -> None:
    cell = ("vt", 4096)
    found = ranks(tmp_path, model("a", {cell: answers(samples, samples)}), model("b", {cell: answers(0, samples)}))
    assert found == {"a": 1, "b": 1}


def test_losses_rank_the_lower_first(tmp_path: Path) -> None:
    losses: Mapping[str, list[Score]] = {"low": [0.5, 0.52, 0.54, 0.51], "high": [0.9, 0.93, 0.95, 0.91]}
    specs = [
        RunSpec({("text", 4096): values}, suite="loss", metric="bits_per_byte", model=name, weights=name)
        for name, values in losses.items()
    ]
    assert ranks(tmp_path, *specs)["low"] == 1
