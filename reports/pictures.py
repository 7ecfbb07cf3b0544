"""Pictures as files, PNG and SVG: equal results give equal bytes."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import UsageError
from reports.charts import Bars, Chart, HeatMap, Lines
from reports.plain_text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

FORMATS = ("png", "svg")
_DPI = 150
_LONGEST_LABEL = 60


@contextmanager
def drawing() -> Iterator[None]:
    """Settings that pictures are drawn and saved under: text stays text, and nothing in it is read as mathematics."""
    import matplotlib

    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "evalkit", "text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        # A name in a script that the font lacks is drawn as boxes; that is no reason to speak up.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def save(picture: "Figure", folder: Path, name: str) -> list[Path]:
    """Write `picture` in every format, without a date; UsageError where the folder cannot be written."""
    files = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            picture.savefig(file, dpi=_DPI, metadata={"Date": None} if file.suffix == ".svg" else {"Software": None})
    except OSError as error:
        raise UsageError(f"pictures cannot be written to {folder}: {error.strerror}") from None
    return files


def label(text: str) -> str:
    """Text from outside, short enough for a legend."""
    shown = one_line(text)
    return shown if len(shown) <= _LONGEST_LABEL else f"…{shown[1 - _LONGEST_LABEL :]}"


def new_figure(width: float, height: float) -> "Figure":
    """A figure in inches that no display is needed for."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def write_charts(charts: Sequence[Chart], folder: Path, prefix: str = "") -> list[Path]:
    """Draw each chart into `folder` as `<prefix><name>.png` and `.svg`; returns the files."""
    written = []
    with drawing():
        for chart in charts:
            match chart:
                case HeatMap():
                    picture = _draw_heat_map(chart)
                case Lines():
                    picture = _draw_lines(chart)
                case Bars():
                    picture = _draw_bars(chart)
            written += save(picture, folder, prefix + chart.name)
    return written


def _draw_heat_map(chart: HeatMap) -> "Figure":
    picture = new_figure(max(4.5, 2.4 + 0.95 * len(chart.columns)), 1.8 + 0.36 * len(chart.rows))
    axes = picture.subplots()
    values = [[float("nan") if value is None else value for value in row] for row in chart.values]
    largest = max((abs(value) for row in chart.values for value in row if value is not None), default=0.0) or 1.0
    low, high = (-largest, largest) if chart.is_difference else (0.0, 100.0)
    image = axes.imshow(values, cmap="RdBu" if chart.is_difference else "viridis", vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(chart.columns)), chart.columns)
    axes.set_yticks(range(len(chart.rows)), [label(row) for row in chart.rows])
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    axes.set_title(label(chart.title), fontsize=10)
    for row, line in enumerate(chart.values):
        for column, value in enumerate(line):
            if value is not None:
                pale = abs(value) < 0.6 * largest if chart.is_difference else value > 60
                shown = f"{value:+.0f}" if chart.is_difference else f"{value:.0f}"
                axes.text(column, row, shown, ha="center", va="center", fontsize=8, color="black" if pale else "white")
    picture.colorbar(image, ax=axes)
    return picture


def _draw_lines(chart: Lines) -> "Figure":
    picture = new_figure(7.5, 4.8)
    axes = picture.subplots()
    for series in chart.series:
        below = [max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)]
        above = [max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)]
        axes.errorbar(
            series.x, series.y, yerr=[below, above], marker="o", markersize=4, capsize=2, label=label(series.name)
        )
    if chart.log_x:
        axes.set_xscale("log", base=2)
        places = sorted({x for series in chart.series for x in series.x})
        axes.set_xticks(places, [f"{x:,.0f}" for x in places], rotation=45, ha="right")
        axes.xaxis.set_minor_locator(_no_ticks())
    if chart.y_range is not None:
        margin = 0.03 * (chart.y_range[1] - chart.y_range[0])
        axes.set_ylim(chart.y_range[0] - margin, chart.y_range[1] + margin)
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    axes.set_title(label(chart.title), fontsize=10)
    axes.grid(alpha=0.3)
    if len(chart.series) > 1:
        axes.legend(fontsize=7, ncols=1 + len(chart.series) // 16)
    return picture


def _no_ticks() -> "NullLocator":
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _draw_bars(chart: Bars) -> "Figure":
    picture = new_figure(7, 1.4 + 0.5 * len(chart.categories))
    axes = picture.subplots()
    height = 0.8 / len(chart.groups)
    for number, (name, values) in enumerate(chart.groups):
        places = [index + (number - (len(chart.groups) - 1) / 2) * height for index in range(len(values))]
        axes.barh(places, values, height=height, label=label(name))
    axes.set_yticks(range(len(chart.categories)), [label(category) for category in chart.categories])
    axes.invert_yaxis()
    axes.set(xlabel=chart.x_label)
    axes.set_title(label(chart.title), fontsize=10)
    axes.grid(alpha=0.3, axis="x")
    if len(chart.groups) > 1:
        axes.legend(fontsize=8)
    return picture
