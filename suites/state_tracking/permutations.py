"""Permutations of five objects by swaps (the group S5) or by rotations of three (A5), as a shell game and as symbols.

The word problem of S5 and A5 is complete for NC1 (Barrington, 1989), so a transformer of fixed depth is not expected
to solve it at every length, while a recurrence with the right transitions is (Merrill et al., 2024, arXiv 2404.08819).
"""

from suites.draws import Draws
from suites.state_tracking.episode import Episode, Task
from suites.state_tracking.paths import steps_between

PLACES = 5
THINGS = ("key", "coin", "ring", "bell", "stone", "shell", "spoon", "card", "button", "feather")
SYMBOLS = ("p", "q", "r", "s", "t")

Cycle = tuple[int, ...]
"""A cycle of places 0 … 4: the object at each place moves to the next one, from the last to the first."""


def follow(place: int, cycle: Cycle) -> int:
    """The place after `cycle` of the object at `place`."""
    return cycle[(cycle.index(place) + 1) % len(cycle)] if place in cycle else place


def trace_back(place: int, cycle: Cycle) -> int:
    """The place before `cycle` of the object at `place`."""
    return cycle[cycle.index(place) - 1] if place in cycle else place


def draw_cycle(draws: Draws, size: int) -> Cycle:
    """A swap (size 2) or a rotation of three, with all equally likely."""
    return tuple(draws.sample(range(PLACES), size))


def draw_walk(draws: Draws, updates: int, size: int) -> tuple[int, int, list[Cycle]]:
    """Origin and end of one object, and the cycles between them.

    The origin is independent of the end and of the last cycle together.
    """
    origin, end, last = draws.below(PLACES), draws.below(PLACES), draw_cycle(draws, size)
    before_last = trace_back(end, last)
    cycles = steps_between(
        draws,
        origin,
        lambda place: place == before_last,
        updates - 1,
        draw=lambda draws, _: draw_cycle(draws, size),
        apply=follow,
    )
    return origin, end, [*cycles, last]


def shell_swap(cycle: Cycle) -> str:
    """A swap as a sentence."""
    first, second = sorted(cycle)
    return f"The cups in {first + 1} and {second + 1} are swapped."


def shell_rotation(cycle: Cycle) -> str:
    """A rotation of three as a sentence."""
    first, second, third = (place + 1 for place in cycle)
    return f"The cup in {first} goes to {second}, that in {second} to {third}, that in {third} to {first}."


def draw_shell(draws: Draws, updates: int, size: int) -> Episode:
    """The object hidden at a position at the end."""
    things = draws.sample(THINGS, PLACES)
    origin, end, cycles = draw_walk(draws, updates, size)
    tell = shell_swap if size == 2 else shell_rotation
    return Episode(
        opening=tuple(f"Position {place} hides the {thing}." for place, thing in enumerate(things, start=1)),
        updates=tuple(tell(cycle) for cycle in cycles),
        question=f"In the end position {end + 1} hides the",
        answer=things[origin],
        alternatives=tuple(thing for thing in things if thing != things[origin]),
    )


def draw_symbols(draws: Draws, updates: int, size: int) -> Episode:
    """The symbol at a place at the end."""
    symbols = draws.sample(SYMBOLS, PLACES)
    origin, end, cycles = draw_walk(draws, updates, size)
    return Episode(
        opening=(f"[{' '.join(symbols)}]",),
        updates=tuple(f"({' '.join(str(place + 1) for place in cycle)})" for cycle in cycles),
        question=f"Place {end + 1}:",
        answer=symbols[origin],
        alternatives=tuple(symbol for symbol in symbols if symbol != symbols[origin]),
    )


_SHELL = (
    "Five cups stand in a row, in positions 1 to 5, with one thing under each. {how} "
    "A cup takes along what is under it. Follow them and say what is hidden where in the end."
)
_SYMBOLS = "Five symbols stand in places 1 to 5. {how} Follow them and say which symbol stands where in the end."

S5_SHELL = Task(
    name="s5_shell",
    instruction=_SHELL.format(how="Two cups at a time are swapped."),
    answers=PLACES,
    draw=lambda draws, updates: draw_shell(draws, updates, 2),
)
A5_SHELL = Task(
    name="a5_shell",
    instruction=_SHELL.format(how="Three cups at a time change places in a circle."),
    answers=PLACES,
    draw=lambda draws, updates: draw_shell(draws, updates, 3),
)
S5_SYMBOLS = Task(
    name="s5_symbols",
    instruction=_SYMBOLS.format(how="(x y) swaps what stands in places x and y."),
    answers=PLACES,
    draw=lambda draws, updates: draw_symbols(draws, updates, 2),
    marker="Swap ",
)
A5_SYMBOLS = Task(
    name="a5_symbols",
    instruction=_SYMBOLS.format(how="(x y z) moves what stands in place x to y, from y to z, and from z to x."),
    answers=PLACES,
    draw=lambda draws, updates: draw_symbols(draws, updates, 3),
    marker="Rotate ",
)
