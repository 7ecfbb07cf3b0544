"""States read back from prompts agree with the tasks' own answers."""

import re

import pytest

from model_adapters.reference.running_states import running_states
from suites.draws import Draws
from suites.state_tracking.prompt import plain_prompt
from suites.state_tracking.tasks import TASKS

DRAWS = 200


@pytest.mark.parametrize("name", TASKS)
def test_the_last_state_agrees_with_the_answer_where_it_tells_it(name: str) -> None:
    told = 0
    for seed in range(DRAWS):
        draws = Draws(seed)
        episode = TASKS[name].draw(draws, 6)
        text = plain_prompt(TASKS[name], [], episode)
        states = list(running_states(name, text))
        assert len(states) == len(episode.updates)
        assert all(text[:end].endswith(update) for (end, _), update in zip(states, episode.updates, strict=True))
        answer = answer_from(name, states[-1][1], episode.opening, episode.updates[-1], episode.question)
        if answer is not None:
            told += 1
            assert answer == episode.answer
    assert told >= DRAWS // 20


def answer_from(name: str, state: str, opening: tuple[str, ...], last: str, question: str) -> str | None:
    """The answer implied by the last state; None if the state is about another place than the question."""
    if name in ("parity", "counter"):
        return state
    if name == "state_recall":
        (number,) = [re.findall(r"\d+", line)[0] for line in opening if line.startswith(f"Slot {state} ")]
        return str(number)
    if name == "registers":
        place = question.split()[-2]
        named = re.findall(r"\b([A-D])\b", last)
        changed = named[0] if last.startswith(("Swap", "Set")) else named[-1]
    else:
        place = re.findall(r"\d", question)[0]
        named = re.findall(r"\d", last)
        changed = named[-1] if name == "entities" else named[0]
    return state if changed == place else None


def test_worked_examples_have_states_too() -> None:
    draws = Draws(0)
    task = TASKS["s5_symbols"]
    text = plain_prompt(task, [task.draw(draws, 4), task.draw(draws, 5)], task.draw(draws, 6))
    ends = [end for end, _ in running_states("s5_symbols", text)]
    assert len(ends) == 4 + 5 + 6
    assert all(text[end - 1] == ")" for end in ends)
