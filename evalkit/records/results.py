"""Results of a run: rows, means, figures and verdicts."""

from dataclasses import dataclass
from typing import Literal

Interval = tuple[float, float]
Outcome = Literal["pass", "fail", "undecided"]
"""`undecided`: the samples do not decide."""

EFFECTIVE_LENGTH = "effective_length"
"""Name of the figure with the effective length."""


@dataclass(frozen=True, slots=True)
class UnscoredCell:
    """A requested task and length that cannot be scored, with the reason."""

    task: str
    ctx: int
    reason: str


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The score of one task at one context length, 0-100, or in the metric's unit (`bits_per_byte`)."""

    task: str
    ctx: int
    metric: str
    value: float | None
    n: int
    """Number of scored samples."""
    ci95: Interval | None
    errors: int = 0
    unscored: int = 0
    chance: float | None = None
    """Score of guessing among the possible answers, 0-100; None if there is no list of answers."""
    updates: int | None = None
    """State updates per question."""

    @property
    def name(self) -> str:
        """The task of the row's samples, as selectors name it: `vt`, or `parity:64` with 64 updates."""
        return self.task if self.updates is None else f"{self.task}:{self.updates}"

    @property
    def cell(self) -> tuple[str, int]:
        """Task and context length of the row's samples."""
        return self.name, self.ctx


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The mean over the tasks at one context length, 0-100."""

    ctx: int
    mean: float | None
    ci95: Interval | None
    tasks: int
    complete: bool
    """False if a task of the suite is missing, errored or unscored: the mean is not the published one."""
    by_sample: bool = False
    """True if every sample has the same weight (micro average), not every task."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is not a row or mean; its coordinates say what it measures."""

    name: str
    """Name, such as `effective_length`; for a metric of one lm-eval task, the task."""
    value: float | None
    unit: str
    ci95: Interval | None = None
    n: int = 0
    """Number of samples or windows of text; 0 if it is computed from the rows of a whole run."""
    part: str = ""
    """A task, a group of tasks, a rule or a kind of token; empty for the whole."""
    metric: str = ""
    """lm-eval's name of the metric."""
    filter: str = ""
    """lm-eval's filter of the answers; empty if there is none."""
    ctx: int | None = None
    depth: tuple[float, float] | None = None
    """Range of needle depths, 0 to 1."""
    position: tuple[int, int] | None = None
    """Range of token positions, the end excluded."""

    @property
    def path(self) -> str:
        """Path in selectors, after the suite: `macro`, `mean/4096`, `grid/4096/0-0.25`, `updates_held/parity`.

        The length of a part follows after an @ and is not in the path.
        """
        metric = f"{self.metric},{self.filter}" if self.filter else self.metric
        length = "" if self.ctx is None or self.part else str(self.ctx)
        depth = "" if self.depth is None else f"{self.depth[0]:.3g}-{self.depth[1]:.3g}"
        position = "" if self.position is None else f"{self.position[0]}-{self.position[1]}"
        return "/".join(filter(None, (self.name, self.part, metric, length, depth, position)))

    @property
    def at(self) -> int | None:
        """The length that follows `path` after an @."""
        return self.ctx if self.part else None

    @property
    def label(self) -> str:
        """The whole name: `path` and the length after it."""
        return self.path if self.at is None else f"{self.path}@{self.at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict of a check, with the difference that it could have detected."""

    target: str
    """Target of the check, such as `effective_length/fixed` or `ruler@65536`."""
    outcome: str
    """An Outcome, or a word of a newer version."""
    reason: str
    """One line: the value, and what it is compared with."""
    limit: float | None = None
    """Limit or margin that the value is compared with."""
    value: float | None = None
    interval: Interval | None = None
    unit: str = "points"
    detectable: float | None = None
    """The smallest true difference that these samples detect with a power of 80 %, in `detectable_unit`."""
    detectable_unit: str = ""


@dataclass(frozen=True, slots=True)
class SuiteSummary:
    """The results of a suite, computed from its samples."""

    results: tuple[ResultRow, ...]
    summary: tuple[SummaryRow, ...] = ()
    figures: tuple[Figure, ...] = ()
    unscored: tuple[UnscoredCell, ...] = ()
    """Found only when samples were prepared, in addition to the cells of the plan."""
    warnings: tuple[str, ...] = ()
    """Warnings about the samples, one line each."""
