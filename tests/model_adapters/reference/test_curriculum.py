"""The phases of training: growth, frequencies of tasks, and separate seeds."""

import random
from collections import Counter

import pytest

from model_adapters.reference.curriculum import (
    CONTINUED,
    FIRST,
    FIRST_TRAINING_SEED,
    LENGTHS,
    TASKS,
    TRACK,
    Phase,
    sample_tokens,
)


class Extreme(random.Random):
    """Draws the lowest or the highest integer of every range."""

    def __init__(self, *, highest: bool) -> None:
        super().__init__(0)
        self._highest = highest

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """One end of the range."""
        numbers = range(start) if stop is None else range(start, stop, step)
        return numbers[-1 if self._highest else 0]


def test_lengths_grow_in_the_first_phase_and_samples_fill_their_rows() -> None:
    rng = random.Random(0)
    assert {FIRST.row_tokens(0.0, rng) for _ in range(50)} == {512}
    assert {FIRST.row_tokens(1.0, rng) for _ in range(200)} == {4096, 8192}
    for _ in range(100):
        length = sample_tokens(8192, rng)
        assert length in LENGTHS
        assert 8192 % length == 0


def test_a_further_phase_has_the_final_lengths_from_the_start() -> None:
    rng = random.Random(0)
    assert {CONTINUED.row_tokens(0.0, rng) for _ in range(200)} == {4096, 8192}
    assert max(FIRST.updates(0.0, rng) for _ in range(400)) <= 8
    assert max(CONTINUED.updates(0.0, rng) for _ in range(400)) > 256


def test_a_further_phase_asks_cwe_three_times_as_often_and_the_rest_as_before() -> None:
    drawn = sum(FIRST.share("cwe", (step + 0.5) / 1000) for step in range(1000)) / 1000
    assert CONTINUED.share("cwe") == pytest.approx(3 * drawn, rel=0.05)
    others = {task for task in (*TASKS, TRACK) if task != "cwe"}
    scale = (1 - CONTINUED.share("cwe")) / (1 - FIRST.share("cwe"))
    assert all(CONTINUED.share(task) == pytest.approx(FIRST.share(task) * scale) for task in others)


def test_tasks_are_drawn_by_their_shares() -> None:
    rng = random.Random(0)
    drawn = Counter(CONTINUED.task(0.0, rng) for _ in range(4000))
    assert set(drawn) == {*TASKS, TRACK}
    assert drawn["cwe"] / 4000 == pytest.approx(CONTINUED.share("cwe"), abs=0.04)


def test_no_seed_belongs_to_two_phases_or_to_an_evaluation() -> None:
    def ends(phase: Phase) -> tuple[int, int]:
        return phase.seed(Extreme(highest=False)), phase.seed(Extreme(highest=True))

    assert ends(FIRST)[0] == FIRST_TRAINING_SEED
    assert ends(FIRST)[1] < ends(CONTINUED)[0] <= ends(CONTINUED)[1]
