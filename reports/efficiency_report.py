"""Token efficiency: the savings, the points behind them, and the scaling law through them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from evalkit.analysis.efficiency import (
    BASELINE,
    HYBRID,
    PUBLISHED_SOURCE,
    Checkpoint,
    Efficiency,
    LawFit,
    Saving,
    Training,
)
from evalkit.statistics.paired import Array
from evalkit.values import counted
from reports.axes import short_number
from reports.charts import Lines, Series
from reports.length_chart import series_of
from reports.numbers import between, decimals, figure, measured
from reports.report import Report, Table

NAMES = ("hybrid", "baseline")
_FIT_POINTS = 50
"""On each fitted curve."""


def efficiency_report(efficiency: Efficiency) -> Report:
    """The report of one comparison along training."""
    tables = [_savings_table(efficiency), _points_table(efficiency)]
    if efficiency.fits:
        tables += [_fits_table(efficiency), _residuals_table(efficiency)]
    tables.append(
        Table("Published figures", ("figure", "value"), tuple((one.what, one.value) for one in efficiency.published))
    )
    return Report(
        headline=headline(efficiency),
        notices=efficiency.notes,
        tables=tuple(tables),
        facts=(
            ("between checkpoints", "linear in the logarithm of tokens, on curves that never get worse"),
            (
                "interval of a saving",
                "95 %, from checkpoints that are significantly worse or as good on the same questions",
            ),
            ("published", PUBLISHED_SOURCE),
        ),
    )


def training_report(training: Training) -> Report:
    """The report of one training run: its checkpoints by tokens."""
    last, best = training.points[-1], _best(training)
    checkpoints = counted(len(training.points), "checkpoint")
    at = (
        f"the best of {checkpoints}"
        if best is last
        else f"{figure(best.value, training.unit)} after {tokens_text(best.tokens)} was the best of {checkpoints}"
    )
    rows = tuple(
        (tokens_text(point.tokens), point.run_id, measured(point.value, point.ci95, decimals(training.unit)))
        for point in training.points
    )
    return Report(
        headline=f"training by {training.metric}, {checkpoints}",
        notices=training.notes,
        tables=(Table("Checkpoints, with 95 % interval", ("tokens", "run", training.metric), rows),),
        facts=(),
        verdicts=(
            f"{training.metric} is {measured(last.value, last.ci95, decimals(training.unit))} {training.unit} after "
            f"{tokens_text(last.tokens)} tokens; {at}.",
        ),
    )


def _best(training: Training) -> Checkpoint:
    """The latest of the best checkpoints."""
    sign = 1 if training.higher_is_better else -1
    return max(training.points, key=lambda point: (sign * point.value, point.tokens))


def training_chart(training: Training) -> Lines:
    """The scores of one training run over its tokens, with their intervals."""
    points = [(point.tokens, point.value, point.ci95) for point in training.points]
    return Lines(
        name="training",
        title=f"{training.metric} over training",
        x_label="training tokens",
        y_label=training.unit,
        series=(series_of(training.metric, points),),
        log_x=True,
        y_range=None,
    )


def tokens_text(tokens: float | None) -> str:
    return "-" if tokens is None else short_number(tokens)


def headline(efficiency: Efficiency) -> str:
    """The baseline's final score, and the share of its tokens that the hybrid needs for it."""
    final = efficiency.savings[-1]
    what, score = f"token efficiency by {efficiency.metric}", figure(final.target, efficiency.unit)
    if final.hybrid_tokens is None:
        return f"{what}: the hybrid does not reach the baseline's final {score}"
    marked = " (EXTRAPOLATED)" if final.reached == "extrapolated" else ""
    is_more = final.saving is not None and final.saving < 0
    interval = (
        _bounds(None if end is None else -end for end in reversed(final.ci95)) if is_more else _bounds(final.ci95)
    )
    return f"{what}: the baseline's final {score} with {_saving(final)} tokens {interval}{marked}"


def _saving(saving: Saving) -> str:
    if saving.saving is None:
        return "-"
    least = "at least " if saving.reached == "at most" else ""
    return f"{least}{abs(saving.saving):.1%} {'fewer' if saving.saving >= 0 else 'more'}"


def _savings_table(efficiency: Efficiency) -> Table:
    return Table(
        f"Tokens to reach what the baseline reached, by {efficiency.metric}",
        (
            "score",
            "baseline tokens",
            "hybrid tokens",
            "hybrid needs",
            "95 % interval of the saving",
            "how",
        ),
        tuple(
            (
                figure(saving.target, efficiency.unit) + (", final" if saving is efficiency.savings[-1] else ""),
                tokens_text(saving.baseline_tokens),
                ("≤ " if saving.reached == "at most" else "") + tokens_text(saving.hybrid_tokens),
                _saving(saving),
                _bounds(saving.ci95),
                _how(saving),
            )
            for saving in efficiency.savings
        ),
    )


def _bounds(ends: Iterable[float | None]) -> str:
    low, high = ("beyond the data" if end is None else f"{end + 0.0:.1%}" for end in ends)
    return f"[{low}, {high}]"


def _how(saving: Saving) -> str:
    match saving.reached:
        case "between":
            return "between checkpoints"
        case "at most":
            return "already at the first checkpoint"
        case "not reached":
            return "not reached; see --extrapolate"
        case "extrapolated":
            return "EXTRAPOLATED by the fit"
        case "never":
            return "not reached, and the fit never does"


def _points_table(efficiency: Efficiency) -> Table:
    return Table(
        "Checkpoints",
        ("model", "run", "tokens", "value", "95 % interval", "monotone"),
        tuple(
            _point(name, point, efficiency.unit)
            for name, points in ((NAMES[HYBRID], efficiency.hybrid), (NAMES[BASELINE], efficiency.baseline))
            for point in points
        ),
    )


def _point(name: str, point: Checkpoint, unit: str) -> tuple[str, ...]:
    return (
        name,
        point.run_id,
        tokens_text(point.tokens),
        figure(point.value, unit),
        between(point.ci95, decimals(unit)).lstrip() or "-",
        figure(point.monotone, unit),
    )


def _fits_table(efficiency: Efficiency) -> Table:
    return Table(
        f"Scaling law {efficiency.fitted} = E + B / tokens^β",
        ("parameters", "E", "β", "B hybrid", "B baseline", "B ratio", "saving at equal loss", "RMS residual"),
        tuple(_fit(fit) for fit in efficiency.fits),
    )


def _fit(fit: LawFit) -> tuple[str, ...]:
    both = fit.name == "shared"
    hybrid = fit.coefficients[HYBRID] if fit.name != "baseline" else None
    baseline = fit.coefficients[BASELINE] if both else fit.coefficients[0] if fit.name == "baseline" else None
    return (
        ("E and β shared" if both else f"{fit.name} alone") + ("" if fit.determined else ", E and β not determined"),
        f"{fit.floor:.4g}",
        f"{fit.exponent:.3f}",
        _significant(hybrid),
        _significant(baseline),
        f"{hybrid / baseline:.3f}" if both and hybrid is not None and baseline else "-",
        "-" if fit.saving is None else f"{fit.saving:.1%}",
        f"{fit.rms:.3g}",
    )


def _significant(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _residuals_table(efficiency: Efficiency) -> Table:
    """What each fit leaves at each checkpoint, measured minus fitted."""
    points = [(HYBRID, point) for point in efficiency.hybrid] + [(BASELINE, point) for point in efficiency.baseline]
    residuals = [_by_point(fit, len(efficiency.hybrid)) for fit in efficiency.fits]
    return Table(
        "Residuals, measured minus fitted",
        ("checkpoint", *(fit.name for fit in efficiency.fits)),
        tuple(
            (
                f"{NAMES[side]} {tokens_text(point.tokens)}",
                *(f"{one[index]:+.3g}" if index in one else "-" for one in residuals),
            )
            for index, (side, point) in enumerate(points)
        ),
    )


def _by_point(fit: LawFit, hybrids: int) -> dict[int, float]:
    """Residuals by the place of their point, hybrid's points first."""
    start = hybrids if fit.name == "baseline" else 0
    flat = [value for curve in fit.residuals for value in curve]
    return {start + index: value for index, value in enumerate(flat)}


def efficiency_chart(efficiency: Efficiency) -> Lines:
    """Both curves with their intervals, and the fits through them."""
    series = [
        one
        for side, points in ((HYBRID, efficiency.hybrid), (BASELINE, efficiency.baseline))
        for one in _curve(points, side)
    ]
    tokens = np.geomspace(*_range(efficiency), _FIT_POINTS)
    series += [one for fit in efficiency.fits for one in _fitted(fit, tokens, efficiency)]
    return Lines(
        name="efficiency",
        title=headline(efficiency),
        x_label="training tokens",
        y_label=f"{efficiency.metric} ({efficiency.unit})",
        series=tuple(series),
        log_x=True,
        y_range=None,
    )


def _curve(points: Sequence[Checkpoint], side: int) -> tuple[Series, Series]:
    """The measured points, and the curve through them that never gets worse."""
    tokens = tuple(point.tokens for point in points)
    values = tuple(point.value for point in points)
    low, high = zip(*(point.ci95 or (point.value, point.value) for point in points), strict=True)
    monotone = tuple(point.monotone for point in points)
    return (
        Series(NAMES[side], tokens, values, low, high, style="points", colour=side),
        Series("", tokens, monotone, monotone, monotone, style="solid", colour=side),
    )


def _fitted(fit: LawFit, tokens: Array, efficiency: Efficiency) -> Iterator[Series]:
    sides = (HYBRID, BASELINE) if fit.name == "shared" else (NAMES.index(fit.name),)
    for coefficient, side in zip(fit.coefficients, sides, strict=True):
        losses = fit.floor + coefficient / tokens**fit.exponent
        values = tuple((100 - losses if efficiency.higher_is_better else losses).tolist())
        name = f"{NAMES[side]}, {'shared' if fit.name == 'shared' else 'own'} fit"
        style: Literal["dashed", "dotted"] = "dashed" if fit.name == "shared" else "dotted"
        yield Series(name, tuple(tokens.tolist()), values, values, values, style=style, colour=side)


def _range(efficiency: Efficiency) -> tuple[float, float]:
    """From the first to the last token, measured or extrapolated."""
    tokens = [point.tokens for point in (*efficiency.hybrid, *efficiency.baseline)]
    tokens += [saving.hybrid_tokens for saving in efficiency.savings if saving.hybrid_tokens is not None]
    return min(tokens), max(tokens)
