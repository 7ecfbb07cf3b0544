"""Episodes: runs of a small state machine in text, from which prompts are built."""

from collections.abc import Callable
from dataclasses import dataclass

from suites.draws import Draws


@dataclass(frozen=True, slots=True)
class Episode:
    """A question about the state after a number of updates, as pieces of text in reading order."""

    opening: tuple[str, ...]
    """Independent statements of the first state."""
    updates: tuple[str, ...]
    question: str
    """Beginning of the answer, which the model continues with one space and the answer."""
    answer: str
    """One word without spaces."""
    alternatives: tuple[str, ...]
    """The other possible answers; with `answer` they are all equally likely."""


@dataclass(frozen=True, slots=True)
class Task:
    """A state machine as a text task."""

    name: str
    instruction: str
    """The rules and the question, in one paragraph."""
    answers: int
    """Number of possible answers, all equally likely: chance is its inverse."""
    draw: Callable[[Draws, int], Episode]
    """Draw an episode with a number of updates."""
    marker: str = ""
    """Text before an update in bare symbols, if other text surrounds it."""

    @property
    def chance(self) -> float:
        """Accuracy of guessing, in [0, 1]."""
        return 1.0 / self.answers
