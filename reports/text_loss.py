"""The loss on a text: bits per byte, nats per token, and the split into copied tokens and the rest."""

from collections.abc import Sequence

from evalkit.records import Figure, ResultRow, RunRecord
from reports.numbers import measured
from reports.report import SuiteReport, Table

_PARTS = {"": "all tokens", "copy": "tokens that end a repeated n-gram", "rest": "other tokens"}


def report(record: RunRecord) -> SuiteReport:
    """The losses, and how much text is behind them."""
    return SuiteReport((loss_table(record.results, record.figures),), _facts(record))


def loss_table(results: Sequence[ResultRow], figures: Sequence[Figure] = ()) -> Table:
    """One row for the whole text in bits per byte, then rows in nats per token."""
    lines = [
        (f"{row.task.replace('_', ' ')} in {row.ctx:,} tokens", measured(row.value, row.ci95, 4), "bits per byte")
        for row in results
    ]
    lines += [
        (_PARTS.get(figure.part, figure.part), measured(figure.value, figure.ci95, 4), figure.unit)
        for figure in figures
        if figure.name == "nats_per_token"
    ]
    windows = sum(row.n for row in results)
    return Table(
        f"Text loss (lower is better) with 95 % interval; {windows:,} windows",
        ("part", "loss", "unit"),
        tuple(lines),
    )


def _facts(record: RunRecord) -> tuple[tuple[str, str], ...]:
    values = {figure.name: figure.value for figure in record.figures}
    share = values.get("copy_share")
    return (
        ("scored tokens", f"{values.get('scored_tokens') or 0:,.0f}"),
        ("scored bytes", f"{values.get('scored_bytes') or 0:,.0f}"),
        *(() if share is None else (("copied tokens", f"{100 * share:.1f} %"),)),
    )
