"""The blocks of a report, which every renderer shows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.charts import Lines

Tone = Literal["", "worse", "better"]

# A number with its sign, comparison or bracket; longer text is a sentence that begins with one.
_NUMBER = re.compile(r"(?:[-+~<≤≥±] ?)?\[?[-+]?\d.{0,50}")


@dataclass(frozen=True, slots=True)
class Table:
    """A titled grid of plain text; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shades: tuple[tuple[float | None, ...], ...] = ()
    """Quality of each cell after the first from 0 to 1, for each row, if cells are coloured."""
    tones: tuple[Tone, ...] = ()
    """For each row, whether it is set off as worse or better."""
    note: str = ""
    """How to read it."""
    is_detail: bool = False
    """Whether pages and markdown show only the title at first."""
    prose: tuple[str, ...] = ()
    """Columns of sentences, which may begin with a number."""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, to be aligned to the right; the first never does."""
        return False, *(
            column not in self.prose and _holds_numbers([row[place] for row in self.rows])
            for place, column in enumerate(self.columns[1:], start=1)
        )


def _holds_numbers(cells: Sequence[str]) -> bool:
    """Whether most of the filled cells are numbers."""
    filled = [cell for cell in cells if cell not in ("", "-", "none")]
    return 2 * sum(_NUMBER.fullmatch(cell) is not None for cell in filled) > len(filled)


@dataclass(frozen=True, slots=True)
class SuiteReport:
    """A suite's report of its run: tables, and facts as name and value."""

    tables: tuple[Table, ...]
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A report: a headline, notices that must be read with the scores, tables, and facts as name and value."""

    headline: str
    notices: tuple[str, ...]
    tables: tuple[Table, ...]
    facts: tuple[tuple[str, str], ...]
    verdicts: tuple[str, ...] = ()
    """The results, each in one sentence."""
    bars: Lines | None = None
    """Scores by length, which a terminal draws as bars; pages have them among their charts."""
    origin: tuple[str, ...] = ()
    """When, on what and by which version each run was made, in one line each; other formats have it in the facts."""
