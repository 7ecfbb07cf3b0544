"""The checks of a context extension: verdicts, grid, loss by position, effective lengths."""

from collections.abc import Sequence

from evalkit.records import Figure, Verdict
from reports.report import Table

TEXTS = ("short_text", "long_text")
"""Rows of the run that are losses and not scores."""
OUTCOMES = {"pass": "PASS", "fail": "FAIL", "undecided": "cannot tell"}
RULES = {
    "fixed": "at least 85.6 points",
    "own_share": "at least 85 % of its own shortest",
    "baseline": "better than the baseline",
}


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """A row for each check, with the smallest difference that its samples could have shown."""
    rows = tuple(
        (
            verdict.check,
            OUTCOMES.get(verdict.verdict, verdict.verdict),
            verdict.statement,
            _range(verdict),
            _visible(verdict),
        )
        for verdict in verdicts
    )
    return Table("Verdicts", ("check", "verdict", "found", "95 % interval", "detectable (80 % power)"), rows)


def extension_tables(figures: Sequence[Figure]) -> list[Table]:
    """Effective lengths, the grid of depth and length, and the loss by position."""
    tables = [_lengths(figures), _grid(figures), _positions(figures)]
    return [table for table in tables if table.rows]


def grid_cells(figures: Sequence[Figure]) -> dict[tuple[str, int], Figure]:
    """The grid's figures by depth range (`0.1-0.2`) and length."""
    cells = {}
    for figure in figures:
        if figure.name.startswith("grid/"):
            _, ctx, depth = figure.name.split("/")
            cells[depth, int(ctx)] = figure
    return cells


def position_series(figures: Sequence[Figure], kind: str) -> list[tuple[int, int, Figure]]:
    """(first, end, figure) of the loss by position in `nats` or `bits`, ascending."""
    prefix = f"position_{kind}/"
    found = []
    for figure in figures:
        if figure.name.startswith(prefix):
            first, end = figure.name.removeprefix(prefix).split("-")
            found.append((int(first), int(end), figure))
    return sorted(found, key=lambda row: row[0])


def _lengths(figures: Sequence[Figure]) -> Table:
    rows = []
    for figure in figures:
        kind, _, rule = figure.name.partition("/")
        if kind == "effective_length" and figure.ci95 is not None:
            rows.append((RULES.get(rule, rule), _tokens(figure.value or 0), _token_range(figure.ci95)))
    return Table(
        "Effective length in tokens, all smaller lengths included",
        ("rule", "length", "95 % interval"),
        tuple(rows),
    )


def _grid(figures: Sequence[Figure]) -> Table:
    cells = grid_cells(figures)
    ctxs = sorted({ctx for _, ctx in cells})
    depths = sorted({depth for depth, _ in cells}, key=lambda depth: float(depth.split("-")[0]))
    values = [[cells[depth, ctx].value if (depth, ctx) in cells else None for ctx in ctxs] for depth in depths]
    sizes = sorted({figure.n for figure in cells.values()})
    samples = "" if not sizes else f"; {sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else "") + " samples a cell"
    return Table(
        f"Needles found (0-100) by depth and context length{samples}",
        ("depth", *(f"{ctx:,}" for ctx in ctxs)),
        tuple(
            (depth, *("" if value is None else f"{value:.0f}" for value in row))
            for depth, row in zip(depths, values, strict=True)
        ),
        shades=tuple(tuple(None if value is None else value / 100 for value in row) for row in values),
    )


def _positions(figures: Sequence[Figure]) -> Table:
    bits = {first: figure for first, _, figure in position_series(figures, "bits")}
    return Table(
        "Loss by position in long documents, with 95 % interval over documents",
        ("position", "nats per token", "bits per byte", "documents"),
        tuple(
            (f"{first:,}-{end:,}", _value(figure), _value(bits[first]) if first in bits else "", str(figure.n))
            for first, end, figure in position_series(figures, "nats")
        ),
    )


def _value(figure: Figure) -> str:
    if figure.value is None:
        return ""
    return f"{figure.value:.3f}" + ("" if figure.ci95 is None else f" [{figure.ci95[0]:.3f}, {figure.ci95[1]:.3f}]")


def _range(verdict: Verdict) -> str:
    if verdict.ci95 is None:
        return ""
    if verdict.unit == "tokens":
        return _token_range(verdict.ci95)
    return f"[{verdict.ci95[0]:.3g}, {verdict.ci95[1]:.3g}] {verdict.unit}"


def _token_range(bounds: tuple[float, float]) -> str:
    return " to ".join(dict.fromkeys(_tokens(bound) for bound in bounds))


def _visible(verdict: Verdict) -> str:
    return "" if verdict.detectable is None else f"{verdict.detectable:.3g} {verdict.detectable_unit}"


def _tokens(value: float) -> str:
    return f"{value:,.0f}" if value else "below the shortest"
