"""The curriculum: tasks and lengths in each phase of training, as a function of progress."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

BATCH_TOKENS = 65_536
FIRST_TRAINING_SEED = 1_000_000_000
"""Training samples have seeds from here on; evaluation seeds lie below."""
PHASE_SEEDS = 2**40
"""Seeds of one phase; those of the next follow, so that no sample is drawn in both."""
PROSE_SEEDS = (101, 102, 103, 104)
"""Seeds of the generated corpora behind training prompts; evaluation reads the embedded ones, which have seed 0."""

TRACK = "track"
"""Name for all state-tracking tasks: its part of a row has many of their short episodes."""

# Copying a value from under a key is found first, and most else builds on it.
_FIRST_TASKS: Mapping[str, float] = {
    "niah_single_1": 0.05,
    "niah_single_2": 0.05,
    "niah_single_3": 0.09,
    "niah_multikey_1": 0.08,
    "niah_multikey_2": 0.10,
    "niah_multikey_3": 0.14,
    "niah_multivalue": 0.07,
    "niah_multiquery": 0.08,
    "vt": 0.06,
    "cwe": 0.05,
    "fwe": 0.05,
    "qa_1": 0.02,
    "qa_2": 0.02,
    TRACK: 0.14,
}
# Once needles are found (within the first fifth), following and counting need the most practice.
_LATER_TASKS: Mapping[str, float] = {
    "niah_single_1": 0.02,
    "niah_single_2": 0.01,
    "niah_single_3": 0.03,
    "niah_multikey_1": 0.03,
    "niah_multikey_2": 0.06,
    "niah_multikey_3": 0.09,
    "niah_multivalue": 0.05,
    "niah_multiquery": 0.05,
    "vt": 0.11,
    "cwe": 0.20,
    "fwe": 0.13,
    "qa_1": 0.03,
    "qa_2": 0.03,
    TRACK: 0.16,
}
# Common words are learned last: in a further phase they are over half of the questions, about three times their share
# in the first phase, and the other tasks keep their proportions, so that nothing is unlearned.
_CONTINUED_TASKS: Mapping[str, float] = {**_LATER_TASKS, "cwe": 0.98}
_FIRST_UNTIL = 0.15
TASKS = tuple(task for task in _FIRST_TASKS if task != TRACK)
"""RULER's tasks."""
COUNTING = ("cwe", "fwe")
"""Tasks about the frequencies of words, for which predicting the text itself is training too."""

_MOST_UPDATES = (8, 16, 32, 64, 128, 256, 512)

# (progress up to which it holds, row length -> share of the batches). Short rows first: what copies a value
# from under a key is found soonest where few positions compete.
_LENGTHS: Sequence[tuple[float, Mapping[int, float]]] = (
    (0.08, {512: 1.0}),
    (0.20, {1024: 0.8, 512: 0.2}),
    (0.40, {2048: 0.7, 1024: 0.3}),
    (0.65, {4096: 0.8, 2048: 0.2}),
    (1.01, {8192: 0.5, 4096: 0.5}),
)

LENGTHS = tuple(sorted({length for _, shares in _LENGTHS for length in shares}))


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training with its own learning-rate schedule; `progress` in [0, 1] is the completed fraction."""

    first_seed: int
    """Its samples have `PHASE_SEEDS` seeds from here on."""
    mixtures: Sequence[tuple[float, Mapping[str, float]]]
    """(progress up to which it holds, task -> weight), in order."""
    grows: bool
    """Whether rows and episodes grow from the shortest; otherwise they are the final ones from the start."""

    def row_tokens(self, progress: float, rng: random.Random) -> int:
        """Length of a batch's rows."""
        return _draw(_at(_LENGTHS, self._growth(progress)), rng)

    def updates(self, progress: float, rng: random.Random) -> int:
        """State updates of the next state-tracking episode: few at first, then few as often as many."""
        reached = 1 + int(self._growth(progress) / _FIRST_UNTIL * 2)
        return rng.randint(4, rng.choice(_MOST_UPDATES[:reached]))

    def task(self, progress: float, rng: random.Random) -> str:
        """The next task to ask, one of `TASKS` or `TRACK`."""
        return _draw(_at(self.mixtures, progress), rng)

    def seed(self, rng: random.Random) -> int:
        """The seed of the next sample."""
        return self.first_seed + rng.randrange(PHASE_SEEDS)

    def share(self, task: str, progress: float = 1.0) -> float:
        """Share of `task` among all questions at `progress`."""
        weights = _at(self.mixtures, progress)
        return weights[task] / sum(weights.values())

    def _growth(self, progress: float) -> float:
        return progress if self.grows else 1.0


FIRST = Phase(FIRST_TRAINING_SEED, ((_FIRST_UNTIL, _FIRST_TASKS), (1.01, _LATER_TASKS)), grows=True)
"""From fresh weights."""
CONTINUED = Phase(FIRST_TRAINING_SEED + PHASE_SEEDS, ((1.01, _CONTINUED_TASKS),), grows=False)
"""On from a trained checkpoint."""


def sample_tokens(row: int, rng: random.Random) -> int:
    """Context length of a row's samples: the row's own as often as any shorter one that then fills it in parts."""
    if rng.random() < 0.5:
        return row
    return rng.choice([length for length in LENGTHS if length <= row])


def _at(steps: Sequence[tuple[float, T]], progress: float) -> T:
    return next(value for until, value in steps if progress < until)


def _draw(weights: Mapping[T, float], rng: random.Random) -> T:
    return rng.choices(list(weights), weights=list(weights.values()))[0]
