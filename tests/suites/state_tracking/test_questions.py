"""Answers agree with an independent simulation, are balanced, and no shortcut finds them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import SampleKey
from model_adapters.scripted import ScriptedTokenizer
from suites.draws import Draws
from suites.state_tracking import StateTrackingSettings, build
from suites.state_tracking.tasks import TASKS, split_row_name
from tests.suites.state_tracking.simulation import solve

SUITE = build(StateTrackingSettings.of(shots=0), ScriptedTokenizer())
DRAWS = 1200
# Four standard deviations of a share of that many draws: one false alarm in about 16,000, and seeds are fixed.
TOLERANCE = 4.0


@given(st.sampled_from(sorted(TASKS)), st.integers(4, 70), st.integers(0, 10**6), st.integers(0, 10**12))
def test_the_answer_is_what_the_text_says(task: str, updates: int, index: int, seed: int) -> None:
    sample = SUITE.ask(SampleKey(f"{task}:{updates}", 0, index, seed)).sample
    assert (solve(task, sample.prompt),) == sample.targets


@pytest.mark.parametrize("task", TASKS)
def test_the_answer_is_what_the_text_says_after_512_updates(task: str) -> None:
    for index in range(3):
        sample = SUITE.ask(SampleKey(f"{task}:512", 0, index, 42)).sample
        assert (solve(task, sample.prompt),) == sample.targets


@pytest.mark.parametrize("task", TASKS)
def test_the_simulation_notices_a_missing_update(task: str) -> None:
    """Leaving out one update must often change the simulated answer; otherwise the tests above prove nothing."""
    changed = 0
    for index in range(200):
        episode = TASKS[task].draw(Draws(index), 16)
        kept = (*episode.updates[:15], *episode.updates[16:]) if task != "entities" else episode.updates[:-1]
        body = "\n".join([*episode.opening, " ".join(kept), episode.question])
        try:
            changed += solve(task, body) != episode.answer
        except ValueError:  # the box in question is empty without its last move
            changed += 1
    assert changed > 20


@pytest.mark.parametrize("task", TASKS)
def test_the_number_of_updates_is_as_asked(task: str) -> None:
    for updates in (4, 5, 13, 100):
        episode = TASKS[task].draw(Draws(updates), updates)
        assert len(episode.updates) == updates
        assert len({episode.answer, *episode.alternatives}) == TASKS[task].answers
        assert " " not in episode.answer


@pytest.mark.parametrize("updates", [4, 11])
@pytest.mark.parametrize("task", TASKS)
def test_no_answer_is_more_probable_than_chance(task: str, updates: int) -> None:
    """Ordered by word if the words are fixed, and by first mention if they are drawn."""
    ranks: Counter[str | int] = Counter()
    for index in range(DRAWS):
        episode = TASKS[task].draw(Draws(f"balance/{index}"), updates)
        ranks[_rank(task, episode.answer, " ".join(episode.opening))] += 1
    chance = TASKS[task].chance
    assert len(ranks) == TASKS[task].answers
    assert max(ranks.values()) / DRAWS <= chance + TOLERANCE * _deviation(chance)


def _rank(task: str, answer: str, opening: str) -> str | int:
    if task in ("parity", "counter", "registers"):
        return answer
    mentioned = [word.strip(".[]") for word in opening.split()]
    candidates = (
        [word for word in mentioned if word.isdigit() and len(word) == 5]
        if task == "state_recall"
        else [word for word in mentioned if len(word) > 2 and word.islower() and word not in ("hides", "the", "box")]
    )
    if task.endswith("symbols"):
        candidates = mentioned
    return candidates.index(answer)


def _deviation(chance: float) -> float:
    return float((chance * (1 - chance) / DRAWS) ** 0.5)


def _sees_only(shown: slice, task: str, index: int, updates: int) -> bool | None:
    """Whether the simulation finds the answer from only some of the updates; None if they cannot be followed."""
    episode = TASKS[task].draw(Draws(f"shortcut/{index}"), updates)
    lines = [*episode.opening, " ".join(episode.updates[shown]) or "Nothing.", episode.question]
    if task == "parity" and not episode.updates[shown]:
        return episode.answer == "even"
    try:
        return solve(task, "\n".join(lines)) == episode.answer
    except (ValueError, AssertionError):
        # A box is empty, or full, without the earlier updates.
        assert task == "entities"
        return None


@pytest.mark.parametrize("shown", [slice(0, 0), slice(-1, None)], ids=["no update", "the last update"])
@pytest.mark.parametrize("task", TASKS)
def test_the_first_state_and_the_last_update_tell_nothing(task: str, shown: slice) -> None:
    """At four updates, the hardest case, a free random walk is still close to its start.

    The share must not be below chance either, because then the answer would be one of the others.
    """
    found = [_sees_only(shown, task, index, 4) for index in range(DRAWS)]
    followed = [outcome for outcome in found if outcome is not None]
    assert len(followed) > DRAWS / 8
    chance = TASKS[task].chance
    assert abs(sum(followed) / len(followed) - chance) <= TOLERANCE * (chance * (1 - chance) / len(followed)) ** 0.5


@pytest.mark.parametrize("task", ["s5_shell", "s5_symbols", "a5_shell", "a5_symbols", "state_recall"])
def test_most_of_a_few_updates_do_tell_something(task: str) -> None:
    """Unavoidable: a walk of four agrees with its last three more often. This shows that the test above can fail."""
    found = [_sees_only(slice(-3, None), task, index, 4) for index in range(DRAWS)]
    chance = TASKS[task].chance
    assert sum(outcome is True for outcome in found) / DRAWS > chance + TOLERANCE * _deviation(chance)


def test_row_names_carry_the_number_of_updates() -> None:
    task, updates = split_row_name("a5_shell:64")
    assert (task.name, updates) == ("a5_shell", 64)
