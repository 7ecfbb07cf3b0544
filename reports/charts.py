"""Descriptions of charts; `reports/drawing.py` lays them out."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A heat map; None is an empty cell."""

    name: str
    """File name without suffix."""
    title: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    """From top to bottom."""
    values: tuple[tuple[float | None, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    is_difference: bool
    """Whether values are differences, with a colour per sign, and not scores from 0 to 100."""
    links: tuple[tuple[str, ...], ...] = ()
    """For each cell, the fragment of the page's address that filters its samples."""
    marks: tuple[tuple[bool, ...], ...] = ()
    """Which cells are outlined as significant differences."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a chart with its intervals; a point without an interval has its value at both ends."""

    name: str
    """Name in the legend; empty for none."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    style: Literal["line", "points", "solid", "dashed", "dotted"] = "line"
    """`line` joins its points and has a confidence band; the last three are curves without points and intervals."""
    colour: int | None = None
    """Index into the palette; None takes the index of the series."""
    incomplete: tuple[bool, ...] = ()
    """Which points lack tasks or samples, and are drawn hollow; empty for none."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A line chart: series over a common axis."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool
    y_range: tuple[float, float] | None
    """None: the range of the values and their intervals."""


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart of counts."""

    name: str
    title: str
    x_label: str
    categories: tuple[str, ...]
    groups: tuple[tuple[str, tuple[float, ...]], ...]
    """Name and one value for each category."""
    links: tuple[str, ...] = ()
    """For each category, the fragment of the page's address that filters its samples."""


Chart = HeatMap | Lines | Bars
