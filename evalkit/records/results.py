"""What a suite makes of its samples: rows, means, figures and verdicts."""

from dataclasses import dataclass
from typing import Literal

Interval = tuple[float, float]
Outcome = Literal["pass", "fail", "undecided"]
"""`undecided`: these samples cannot tell."""

EFFECTIVE_LENGTH = "effective_length"
"""The figure of the largest context length that is used as well as shorter ones."""


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
    """Scored samples behind the value."""
    ci95: Interval | None
    errors: int = 0
    unscored: int = 0
    chance: float | None = None
    """Score of guessing among the possible answers, 0-100; None if there is no such list."""
    updates: int | None = None
    """State updates in each question."""

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
    """A number beside the rows; its coordinates say what it is of."""

    name: str
    """What it is, such as `effective_length`; for a metric of one lm-eval task, the task."""
    value: float | None
    unit: str
    ci95: Interval | None = None
    n: int = 0
    """Samples or windows of text behind it; 0 if it follows from the rows of a whole run."""
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
        """How selectors name it after the suite: `macro`, `mean/4096`, `grid/4096/0-0.25`, `updates_held/parity`.

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
    """What a check concludes, and what it could have concluded."""

    target: str
    """What was judged, such as `effective_length/fixed` or `ruler@65536`."""
    outcome: str
    """An Outcome, or a word of a newer version."""
    reason: str
    """One line: what was found, compared with what."""
    limit: float | None = None
    """What the value is compared with."""
    value: float | None = None
    interval: Interval | None = None
    unit: str = "points"
    detectable: float | None = None
    """The smallest true difference that this many samples show with a power of 80 %, in `detectable_unit`."""
    detectable_unit: str = ""


@dataclass(frozen=True, slots=True)
class SuiteSummary:
    """What a suite makes of its sample records."""

    results: tuple[ResultRow, ...]
    summary: tuple[SummaryRow, ...] = ()
    figures: tuple[Figure, ...] = ()
    unscored: tuple[UnscoredCell, ...] = ()
    """Found only when samples were prepared, in addition to the cells of the plan."""
    warnings: tuple[str, ...] = ()
    """What the samples show about the run beside their scores; one line each."""
