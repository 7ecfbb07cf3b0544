"""Neutral blocks that reports are made of and every renderer shows alike."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A titled grid of plain text; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shades: tuple[tuple[float | None, ...], ...] = ()
    """Where cells have colours: for each row, how good each cell after the first is, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Report:
    """A headline, notices that must be read with the scores, tables, and facts as name and value."""

    headline: str
    notices: tuple[str, ...]
    tables: tuple[Table, ...]
    facts: tuple[tuple[str, str], ...]
