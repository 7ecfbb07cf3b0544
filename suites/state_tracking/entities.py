"""Entity tracking: four things in seven boxes, moved by box and never by name."""

from suites.draws import Draws
from suites.state_tracking.episode import Episode, Task
from suites.state_tracking.paths import steps_between
from suites.state_tracking.permutations import THINGS

BOXES = 7
CARRIED = 4

Contents = tuple[int | None, ...]
"""For each box the number of the thing in it, or None."""
Move = tuple[int, int]
"""A move from an occupied box to an empty one."""


def move(contents: Contents, step: Move) -> Contents:
    """The contents after one move."""
    source, target = step
    after = list(contents)
    after[target], after[source] = after[source], None
    return tuple(after)


def draw_move(draws: Draws, contents: Contents) -> Move:
    """A possible move, with all equally likely."""
    full = [box for box, thing in enumerate(contents) if thing is not None]
    empty = [box for box, thing in enumerate(contents) if thing is None]
    return draws.pick(full), draws.pick(empty)


def draw_entities(draws: Draws, updates: int) -> Episode:
    """The thing in a box at the end.

    Moves name boxes only, because a move that named its thing would give away the thing's place. The answer is
    independent of the first contents, the last move and the requested box together.
    """
    boxes = draws.sample(range(BOXES), CARRIED)
    start: Contents = tuple(boxes.index(box) if box in boxes else None for box in range(BOXES))
    answer = draws.below(CARRIED)
    source, target = draws.sample(range(BOXES), 2)
    asked = draws.pick([box for box in range(BOXES) if box != source])
    before_last = source if asked == target else asked

    def arrived(contents: Contents) -> bool:
        last_is_possible = contents[source] is not None and contents[target] is None
        return last_is_possible and contents[before_last] == answer

    moves = steps_between(draws, start, arrived, updates - 1, draw=draw_move, apply=move)
    names = draws.sample(THINGS, CARRIED)
    return Episode(
        opening=tuple(f"The {name} is in box {box + 1}." for name, box in zip(names, boxes, strict=True)),
        updates=tuple(f"What is in box {a + 1} goes into box {b + 1}." for a, b in [*moves, (source, target)]),
        question=f"In the end box {asked + 1} holds the",
        answer=names[answer],
        alternatives=tuple(name for name in names if name != names[answer]),
    )


ENTITIES = Task(
    name="entities",
    instruction=(
        "Things lie in boxes numbered 1 to 7, at most one in each, and are moved into boxes that are empty. "
        "Follow them and say what a box holds in the end."
    ),
    answers=CARRIED,
    draw=draw_entities,
)
