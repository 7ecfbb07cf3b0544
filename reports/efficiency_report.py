"""Token efficiency: the savings, the points behind them, and the scaling law through them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalkit.analysis.efficiency import BASELINE, HYBRID, PUBLISHED_SOURCE, Checkpoint, Efficiency, LawFit, Saving
from reports.comparison_report import decimals, figure
from reports.pictures import drawing, label, new_figure, save
from reports.report import Report, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("tab:blue", "tab:orange")
NAMES = ("hybrid", "baseline")


def efficiency_report(efficiency: Efficiency) -> Report:
    """The report of one comparison along training."""
    tables = [_savings_table(efficiency), _points_table(efficiency)]
    if efficiency.fits:
        tables += [_fits_table(efficiency), _residuals_table(efficiency)]
    tables.append(
        Table("Published figures", ("figure", "value"), tuple((one.what, one.value) for one in efficiency.published))
    )
    return Report(
        headline=f"token efficiency by {efficiency.metric}: {_headline(efficiency)}",
        notices=efficiency.notes,
        tables=tuple(tables),
        facts=(
            ("between checkpoints", "linear in the logarithm of tokens, on curves that never get worse"),
            ("interval", "95 %, questions resampled, the same ones at every checkpoint"),
            ("published", PUBLISHED_SOURCE),
        ),
    )


def tokens_text(tokens: float | None) -> str:
    """Tokens as people write them: 1.50B, 12.3M."""
    if tokens is None:
        return "-"
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if tokens >= size:
            return f"{tokens / size:,.3g}{suffix}" if tokens < 1000 * size else f"{tokens / size:,.0f}{suffix}"
    return f"{tokens:.0f}"


def _headline(efficiency: Efficiency) -> str:
    final = efficiency.savings[-1]
    score = figure(final.target, efficiency.unit)
    if final.hybrid_tokens is None:
        return f"the hybrid does not reach the baseline's final {score}"
    marked = " (EXTRAPOLATED)" if final.reached == "extrapolated" else ""
    return f"the baseline's final {score} with {_saving(final)} tokens{marked}"


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
            "resamples that reach it",
        ),
        tuple(
            (
                figure(saving.target, efficiency.unit) + (", final" if saving is efficiency.savings[-1] else ""),
                tokens_text(saving.baseline_tokens),
                ("≤ " if saving.reached == "at most" else "") + tokens_text(saving.hybrid_tokens),
                _saving(saving),
                _interval(saving),
                _how(saving),
                f"{saving.reached_share:.0%}",
            )
            for saving in efficiency.savings
        ),
    )


def _interval(saving: Saving) -> str:
    low, high = saving.ci95
    if high is None:
        return "beyond the data"
    return f"[{'beyond the data' if low is None else f'{low:.1%}'}, {high:.1%}]"


def _how(saving: Saving) -> str:
    match saving.reached:
        case "between":
            return "between checkpoints"
        case "at most":
            return "already at the first checkpoint"
        case "not reached":
            return "not reached; --extrapolate asks the fit"
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
    places = decimals(unit)
    interval = "-" if point.ci95 is None else f"[{point.ci95[0]:.{places}f}, {point.ci95[1]:.{places}f}]"
    return (
        name,
        point.run_id,
        tokens_text(point.tokens),
        figure(point.value, unit),
        interval,
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
    interval = "" if fit.saving_ci95 is None else f" [{fit.saving_ci95[0]:.1%}, {fit.saving_ci95[1]:.1%}]"
    return (
        ("E and β shared" if both else f"{fit.name} alone") + ("" if fit.determined else ", E and β not told"),
        f"{fit.floor:.4g}",
        f"{fit.exponent:.3f}",
        _significant(hybrid),
        _significant(baseline),
        f"{hybrid / baseline:.3f}" if both and hybrid is not None and baseline else "-",
        "-" if fit.saving is None else f"{fit.saving:.1%}{interval}",
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


# --- the picture


def write_efficiency_pictures(efficiency: Efficiency, folder: Path) -> list[Path]:
    """Write the two curves with their intervals, the saving and the fits into `folder`; returns the files."""
    with drawing():
        picture = new_figure(7.5, 5)
        axes = picture.subplots()
        for side, points in ((HYBRID, efficiency.hybrid), (BASELINE, efficiency.baseline)):
            _draw_curve(axes, points, side)
        for fit in efficiency.fits:
            _draw_fit(axes, fit, efficiency)
        _draw_saving(axes, efficiency.savings[-1])
        _token_axis(axes)
        metric = label(efficiency.metric)
        axes.set(xlabel="training tokens", ylabel=f"{metric} ({efficiency.unit})")
        axes.set_title(f"token efficiency by {metric}", fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        return save(picture, folder, "efficiency")


def _token_axis(axes: "Axes") -> None:
    """A logarithmic axis of tokens, marked 1, 2 and 5 in each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: tokens_text(tokens)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_curve(axes: "Axes", points: Sequence[Checkpoint], side: int) -> None:
    tokens = [point.tokens for point in points]
    values = [point.value for point in points]
    intervals = [point.ci95 or (point.value, point.value) for point in points]
    below = [max(0.0, point.value - low) for point, (low, _) in zip(points, intervals, strict=True)]
    above = [max(0.0, high - point.value) for point, (_, high) in zip(points, intervals, strict=True)]
    axes.errorbar(tokens, values, yerr=[below, above], fmt="o", color=COLORS[side], capsize=3, label=NAMES[side])
    axes.plot(tokens, [point.monotone for point in points], color=COLORS[side], alpha=0.6)


def _draw_fit(axes: "Axes", fit: LawFit, efficiency: Efficiency) -> None:
    sides = (HYBRID, BASELINE) if fit.name == "shared" else (NAMES.index(fit.name),)
    tokens = np.geomspace(*_range(efficiency), 200)
    for coefficient, side in zip(fit.coefficients, sides, strict=True):
        losses = fit.floor + coefficient / tokens**fit.exponent
        values = 100 - losses if efficiency.higher_is_better else losses
        style = "--" if fit.name == "shared" else ":"
        axes.plot(tokens, values, style, color=COLORS[side], linewidth=1, label=f"{NAMES[side]}, {_law_name(fit)} fit")


def _law_name(fit: LawFit) -> str:
    return "shared" if fit.name == "shared" else "own"


def _range(efficiency: Efficiency) -> tuple[float, float]:
    """From the first to the last token, measured or extrapolated."""
    tokens = [point.tokens for point in (*efficiency.hybrid, *efficiency.baseline)]
    tokens += [saving.hybrid_tokens for saving in efficiency.savings if saving.hybrid_tokens is not None]
    return min(tokens), max(tokens)


def _draw_saving(axes: "Axes", final: Saving) -> None:
    """An arrow from the baseline's tokens to the hybrid's, at the baseline's final value."""
    if final.hybrid_tokens is None:
        return
    axes.annotate(
        "",
        xy=(final.hybrid_tokens, final.target),
        xytext=(final.baseline_tokens, final.target),
        arrowprops={"arrowstyle": "->", "color": "gray"},
    )
    middle = float(np.sqrt(final.hybrid_tokens * final.baseline_tokens))
    marked = " (extrapolated)" if final.reached == "extrapolated" else ""
    axes.annotate(
        _saving(final) + marked,
        (middle, final.target),
        textcoords="offset points",
        xytext=(0, 6),
        ha="center",
        fontsize=8,
    )
