"""The loss on a text: bits per byte, nats per token, and the split into copies and the rest."""

from collections.abc import Mapping, Sequence

from evalkit.records import Figure, ResultRow
from reports.report import Table

_LABELS = {
    "nats_per_token": "all tokens",
    "nats_per_token/copy": "tokens that end a repeated n-gram",
    "nats_per_token/rest": "other tokens",
}


def loss_table(results: Sequence[ResultRow], figures: Sequence[Figure]) -> Table:
    """A row for the whole text in bits per byte, then rows in nats per token."""
    lines = [
        (f"{row.task.replace('_', ' ')} in {row.ctx:,} tokens", _value(row.value, row.ci95), "bits per byte")
        for row in results
    ]
    lines += [
        (_LABELS.get(figure.name, figure.name), _value(figure.value, figure.ci95), figure.unit) for figure in figures
    ]
    windows = sum(row.n for row in results)
    return Table(
        f"Text loss (lower is better) with 95 % interval; {windows:,} windows",
        ("part", "loss", "unit"),
        tuple(lines),
    )


def loss_facts(derived: Mapping[str, float | None]) -> tuple[tuple[str, str], ...]:
    """How much text stands behind the losses."""
    share = derived.get("copy_share")
    return (
        ("scored tokens", f"{derived.get('scored_tokens') or 0:,.0f}"),
        ("scored bytes", f"{derived.get('scored_bytes') or 0:,.0f}"),
        *(() if share is None else (("copied tokens", f"{100 * share:.1f} %"),)),
    )


def _value(value: float | None, ci95: tuple[float, float] | None) -> str:
    if value is None:
        return "unscored"
    return f"{value:.4f}" + ("" if ci95 is None else f" [{ci95[0]:.4f}, {ci95[1]:.4f}]")
