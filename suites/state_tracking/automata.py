"""The two cyclic machines: parity of bits, and a counter modulo five."""

from suites.draws import Draws
from suites.state_tracking.episode import Episode, Task

MODULUS = 5


def draw_parity(draws: Draws, updates: int) -> Episode:
    """Fair bits: the parity stays uniform even if all bits but one are known."""
    bits = [draws.below(2) for _ in range(updates)]
    words = ("even", "odd")
    answer = words[sum(bits) % 2]
    return Episode(
        opening=(),
        updates=tuple(str(bit) for bit in bits),
        question="Number of ones:",
        answer=answer,
        alternatives=tuple(word for word in words if word != answer),
    )


def draw_counter(draws: Draws, updates: int) -> Episode:
    """Steps of zero to four, up or down, from a random start: each is uniform modulo five, so none can be skipped."""
    start = draws.below(MODULUS)
    steps = [(draws.pick(("Add", "Subtract")), draws.below(MODULUS)) for _ in range(updates)]
    answer = (start + sum(step if verb == "Add" else -step for verb, step in steps)) % MODULUS
    return Episode(
        opening=(f"The counter stands at {start}.",),
        updates=tuple(f"{verb} {step}." for verb, step in steps),
        question="In the end the counter stands at",
        answer=str(answer),
        alternatives=tuple(str(value) for value in range(MODULUS) if value != answer),
    )


PARITY = Task(
    name="parity",
    instruction="Read the bits from first to last and say whether the number of ones is even or odd.",
    answers=2,
    draw=draw_parity,
    marker="Bit: ",
)
COUNTER = Task(
    name="counter",
    instruction=(
        "A counter has only the numbers 0 to 4: above 4 it starts again at 0, and below 0 at 4. "
        "Follow it and say where it stands in the end."
    ),
    answers=MODULUS,
    draw=draw_counter,
)
