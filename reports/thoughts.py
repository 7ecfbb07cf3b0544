"""Thoughts before answers: how many tokens they took, and how they ended."""

from evalkit.records import RunRecord
from evalkit.statistics.thoughts import ENDS, TOKENS, is_of_thoughts
from reports.report import Table

_COLUMNS = {"forced": "closed by force", "unclosed": "never closed", "absent": "no thought"}


def thought_table(record: RunRecord) -> Table | None:
    """Mean length and ends of thoughts by context length; None if the run has none."""
    figures = {(figure.ctx, figure.name): figure for figure in record.figures if is_of_thoughts(figure)}
    lengths = dict.fromkeys(ctx for ctx, _ in figures)
    if not lengths:
        return None
    rows = []
    for ctx in lengths:
        mean = figures[ctx, TOKENS]
        shares = [figures[ctx, name].value for name in ENDS.values()]
        rows.append(
            (
                f"{ctx:,}" if ctx else "no context",
                f"{mean.n:,}",
                f"{mean.value or 0:,.1f}",
                *("" if share is None else f"{share:.1f} %" for share in shares),
            )
        )
    return Table(
        "Thoughts before answers by context length",
        ("length", "samples", "mean tokens", *(_COLUMNS[end] for end in ENDS)),
        tuple(rows),
    )
