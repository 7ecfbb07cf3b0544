"""One run of a small state machine told in text: what every task draws, and what a prompt is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from suites.draws import Draws


@dataclass(frozen=True, slots=True)
class Episode:
    """A question about a state after a number of updates, as pieces of text in reading order."""

    opening: tuple[str, ...]
    """Statements of the first state; each stands for itself."""
    updates: tuple[str, ...]
    question: str
    """Opens the answer: the model goes on with one space and the answer."""
    answer: str
    """One word without spaces."""
    alternatives: tuple[str, ...]
    """The other possible answers; with `answer` they are all equally likely."""


@dataclass(frozen=True, slots=True)
class Task:
    """A state machine as a text task."""

    name: str
    instruction: str
    """How to read the statements, and what is asked; one paragraph."""
    answers: int
    """Number of possible answers, all equally likely: chance is its inverse."""
    draw: Callable[[Draws, int], Episode]
    """An episode of so many updates."""
    marker: str = ""
    """Stands before an update that is bare symbols, where other text is around it."""

    @property
    def chance(self) -> float:
        """Accuracy of guessing, in [0, 1]."""
        return 1.0 / self.answers
