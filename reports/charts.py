"""Charts as neutral descriptions that the picture files and the HTML page draw alike."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Values in colour; None is left blank."""

    name: str
    """For the file."""
    title: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    """From top to bottom."""
    values: tuple[tuple[float | None, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    is_difference: bool
    """Differences are coloured from their middle, zero; scores from 0 to 100."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart with its interval; a point without one has its value at both ends."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over a common axis."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool
    y_range: tuple[float, float] | None
    """None: what the values need."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Counts side by side."""

    name: str
    title: str
    x_label: str
    categories: tuple[str, ...]
    groups: tuple[tuple[str, tuple[float, ...]], ...]
    """Name and one value for each category."""


Chart = HeatMap | Lines | Bars
