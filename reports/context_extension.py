"""Tables of a context extension: verdicts, effective lengths, grid of depths, loss by position."""

from collections.abc import Sequence

from evalkit.records import EFFECTIVE_LENGTH, Figure, RunRecord, Verdict
from evalkit.statistics.effective_length import FIXED_SCORE, OWN_SHARE
from evalkit.views.grids import figure_grid
from reports.numbers import measured
from reports.report import SuiteReport, Table
from reports.scores import score_table
from reports.text_loss import loss_table

_TEXTS = ("short_text", "long_text")
"""Rows of the run that are losses and not scores."""
OUTCOMES = {"pass": "PASS", "fail": "FAIL", "undecided": "undecided"}
_RULES = {
    "": f"at least {FIXED_SCORE} points",
    "own_share": f"at least {100 * OWN_SHARE:.0f} % of its own shortest",
    "baseline": "better than the baseline",
}


def report(record: RunRecord) -> SuiteReport:
    """Verdicts and scores; effective lengths, the grid of depth and length, and the losses, if there are any."""
    losses = [row for row in record.results if row.task in _TEXTS]
    tables = (_lengths(record.figures), _grid(record.figures), _positions(record.figures), loss_table(losses))
    return SuiteReport(
        (
            verdict_table(record.verdicts),
            score_table([row for row in record.results if row.task not in _TEXTS], (), record.unscored),
            *(table for table in tables if table.rows),
        )
    )


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row per check, with the difference that it detects with 80 % power."""
    rows = tuple(
        (
            verdict.target,
            OUTCOMES.get(verdict.outcome, verdict.outcome),
            verdict.reason,
            _range(verdict),
            "" if verdict.detectable is None else f"{verdict.detectable:.3g} {verdict.detectable_unit}",
        )
        for verdict in verdicts
    )
    return Table("Verdicts", ("check", "verdict", "found", "95 % interval", "detectable (80 % power)"), rows)


def _lengths(figures: Sequence[Figure]) -> Table:
    return Table(
        "Effective length in tokens, all smaller lengths included",
        ("rule", "length", "95 % interval"),
        tuple(
            (_RULES.get(figure.part, figure.part), _tokens(figure.value or 0), _token_range(figure.ci95))
            for figure in figures
            if figure.name == EFFECTIVE_LENGTH and figure.ci95 is not None
        ),
    )


def _grid(figures: Sequence[Figure]) -> Table:
    grid = figure_grid(figures)
    sizes = sorted({count for row in grid.counts for count in row if count})
    samples = (
        "" if not sizes else f"; {sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else "") + " samples per cell"
    )
    return Table(
        f"Needles found (0-100) by depth and context length{samples}",
        ("depth", *(f"{ctx:,}" for ctx in grid.columns)),
        tuple(
            (depth, *("" if value is None else f"{value:.0f}" for value in row))
            for depth, row in zip(grid.rows, grid.values, strict=True)
        ),
        shades=tuple(tuple(None if value is None else value / 100 for value in row) for row in grid.values),
    )


def _positions(figures: Sequence[Figure]) -> Table:
    bits = {figure.position: figure for figure in figures if figure.name == "position_bits"}
    return Table(
        "Loss by position in long documents, with 95 % interval over documents",
        ("position", "nats per token", "bits per byte", "documents"),
        tuple(
            (
                f"{figure.position[0]:,}-{figure.position[1]:,}",
                _value(figure),
                _value(bits[figure.position]) if figure.position in bits else "",
                str(figure.n),
            )
            for figure in figures
            if figure.name == "position_nats" and figure.position is not None
        ),
    )


def _value(figure: Figure) -> str:
    return measured(figure.value, figure.ci95, 3, missing="")


def _range(verdict: Verdict) -> str:
    if verdict.interval is None:
        return ""
    if verdict.unit == "tokens":
        return _token_range(verdict.interval)
    return f"[{verdict.interval[0]:.3g}, {verdict.interval[1]:.3g}] {verdict.unit}"


def _token_range(bounds: tuple[float, float]) -> str:
    return " to ".join(dict.fromkeys(_tokens(bound) for bound in bounds))


def _tokens(value: float) -> str:
    return f"{value:,.0f}" if value else "below the shortest"
