"""State-based recall: a pointer moves through swaps of slots, then the value of its slot is requested.

The slot must be tracked, which takes a state, and the value found again, which takes a lookup in the text: neither a
transformer nor a recurrence is expected to do both at length.
"""

from suites.draws import Draws
from suites.state_tracking.episode import Episode, Task
from suites.state_tracking.permutations import PLACES, draw_walk

SLOTS = ("A", "B", "C", "D", "E")
VALUE_DIGITS = 5


def draw_recall(draws: Draws, updates: int) -> Episode:
    """The number in the pointer's last slot."""
    values = draws.sample(range(10 ** (VALUE_DIGITS - 1), 10**VALUE_DIGITS), PLACES)
    order = draws.sample(range(PLACES), PLACES)
    start, end, swaps = draw_walk(draws, updates, 2)
    answer = values[end]
    stored = tuple(f"Slot {SLOTS[slot]} stores the number {values[slot]}." for slot in order)
    return Episode(
        opening=(*stored, f"The pointer is at slot {SLOTS[start]}."),
        updates=tuple(f"Slots {SLOTS[first]} and {SLOTS[second]} trade the pointer." for first, second in swaps),
        question="In the end the pointer is at the slot that stores the number",
        answer=str(answer),
        alternatives=tuple(str(value) for value in values if value != answer),
    )


STATE_RECALL = Task(
    name="state_recall",
    instruction=(
        "Five slots store one number each, and a pointer is at one of them. When two slots trade the pointer, it goes "
        "from one to the other if it is at either, and stays where it is if not; the numbers stay in their slots. "
        "Follow the pointer and say the number stored where it is in the end."
    ),
    answers=PLACES,
    draw=draw_recall,
)
