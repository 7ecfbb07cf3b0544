"""Figures of other tools as leaderboards take them."""

from dataclasses import dataclass

from evalkit.statistics.intervals import Interval


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """One figure of another tool."""

    task: str
    ctx: int | None
    metric: str
    value: float
    """0-100 where the tool reported a fraction, else as it reported it."""
    ci95: Interval | None
    n: int | None


@dataclass(frozen=True, slots=True)
class ForeignResult:
    """All figures of one file."""

    path: str
    dialect: str
    """The tool and its version: figures of two dialects stand in two tables."""
    model: str
    rows: tuple[ForeignRow, ...]
    details: tuple[tuple[str, str], ...] = ()
    """Settings, by name, that can tell two results of one model apart."""
