"""Results of other tools, as leaderboards show them."""

from dataclasses import dataclass

from evalkit.statistics.intervals import Interval


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """One figure of another tool."""

    task: str
    ctx: int | None
    metric: str
    value: float
    """0-100 if the tool reported a fraction, else as reported."""
    ci95: Interval | None
    n: int | None


@dataclass(frozen=True, slots=True)
class ForeignResult:
    """All figures of one file."""

    path: str
    dialect: str
    """The tool and its version; each dialect has a table of its own."""
    model: str
    rows: tuple[ForeignRow, ...]
    details: tuple[tuple[str, str], ...] = ()
    """Settings, by name, that distinguish results of one model."""
