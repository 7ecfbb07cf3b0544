"""Random walks between two given states, so that neither the first state nor the last update tells the answer.

A free random walk stays near its start: after four swaps of five objects an object is back at its place 25 % of the
time, not 20 %. Here the two ends are drawn first, independently, and the walk is made to fit.
"""

from collections.abc import Callable
from typing import TypeVar

from suites.draws import Draws

State = TypeVar("State")
Step = TypeVar("Step")

# Long enough to join any two states, short enough that a failed draw is cheap.
REDRAWN_STEPS = 12


def steps_between(
    draws: Draws,
    start: State,
    arrived: Callable[[State], bool],
    count: int,
    *,
    draw: Callable[[Draws, State], Step],
    apply: Callable[[State, Step], State],
) -> list[Step]:
    """`count` random steps from `start` to a state where `arrived` holds.

    All but the last few are drawn freely; the last ones are redrawn until they arrive. It never returns if no walk of
    `count` steps arrives.
    """
    free_steps, state = _walk(draws, start, max(0, count - REDRAWN_STEPS), draw, apply)
    while True:
        last_steps, end = _walk(draws, state, min(count, REDRAWN_STEPS), draw, apply)
        if arrived(end):
            return free_steps + last_steps


def _walk(
    draws: Draws,
    state: State,
    count: int,
    draw: Callable[[Draws, State], Step],
    apply: Callable[[State, Step], State],
) -> tuple[list[Step], State]:
    steps = []
    for _ in range(count):
        step = draw(draws, state)
        state = apply(state, step)
        steps.append(step)
    return steps, state
