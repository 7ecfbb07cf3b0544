"""Charts laid out as SVG."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from evalkit.values import counted
from reports.axes import Scale, tick_label
from reports.charts import Bars, Chart, HeatMap, Lines, Series
from reports.plain_text import one_line
from reports.svg import INK, LINE, MARKERS, SIZE, Canvas, text_width

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
"""Okabe and Ito's palette, distinguishable for colour-blind readers, without its yellow, which is faint on white."""
BLUE, VERMILION = PALETTE[:2]
WIDTH, PLOT_HEIGHT, MARGIN = 520, 230, 12
_WIDEST_CELL, _CELL_HEIGHT = 90, 24
_LONGEST_LABEL = 40
_MOST_BANDS = 3
"""Up to this many series have confidence bands; more would hide each other and have whiskers instead."""
_MOST_POINT_TICKS = 10
_DASHES = {"dashed": "6 3", "dotted": "1.5 3"}


def draw(chart: Chart, name: str) -> Element:
    """One chart as an `svg` element whose ids begin with `name`."""
    match chart:
        case HeatMap():
            return _heat_map(chart, name)
        case Lines():
            return _lines(chart, name)
        case Bars():
            return _bars(chart, name)


def _heat_map(chart: HeatMap, name: str) -> Element:
    rows = [_short(row) for row in chart.rows]
    left = 2 * MARGIN + max(text_width(text) for text in (*rows, chart.y_label))
    fitting = min(_WIDEST_CELL, (WIDTH - left - MARGIN) / len(chart.columns))
    cell = max(fitting, *(text_width(column) + 8 for column in chart.columns))
    width = max(WIDTH, left + cell * len(chart.columns) + MARGIN)
    canvas, y = _titled(chart.title, width)
    canvas.muted(left, y, chart.x_label)
    canvas.muted(left - MARGIN, y + LINE, chart.y_label, "end")
    for j, column in enumerate(chart.columns):
        canvas.text(left + (j + 0.5) * cell, y + LINE, column, "middle")
    y += 1.5 * LINE
    known = [abs(value) for row in chart.values for value in row if value is not None]
    full = (max(known, default=0.0) or 1.0) if chart.is_difference else 100.0
    for i, row in enumerate(chart.values):
        canvas.text(left - MARGIN, y + 16, rows[i], "end")
        for j, value in enumerate(row):
            x = left + j * cell
            if value is None:
                canvas.muted(x + cell / 2, y + 16, "–", "middle")
                continue
            marked = bool(chart.marks) and chart.marks[i][j]
            samples = counted(chart.counts[i][j], "sample") + (", significant" if marked else "")
            canvas.area(
                _box(x + 1, y + 1, cell - 2, _CELL_HEIGHT - 2),
                VERMILION if value < 0 else BLUE,
                # Paler than the pure colour, so that text is readable on it on light and dark pages.
                opacity=0.05 + 0.6 * min(1.0, abs(value) / full),
                tooltip=f"{chart.rows[i]}, {chart.columns[j]}: {value:.1f} ({samples})",
                link=chart.links[i][j] if chart.links else "",
            )
            shown = f"{round(value) + 0:+d}" if chart.is_difference else f"{value:.0f}"
            canvas.text(x + cell / 2, y + 16, shown, "middle", bold=marked)
            if marked:
                canvas.outline(_box(x + 2, y + 2, cell - 4, _CELL_HEIGHT - 4), INK, width=1.5)
        y += _CELL_HEIGHT
    if any(map(any, chart.marks)):
        y += LINE
        canvas.muted(left, y, "outlined: significant")
    return canvas.finish(name, width, y + MARGIN)


def _bars(chart: Bars, name: str) -> Element:
    categories = [_short(category) for category in chart.categories]
    keys = [_Key(_short(group), _colour(place), "square") for place, (group, _) in enumerate(chart.groups)]
    canvas, y = _titled(chart.title)
    y = _add_legend(canvas, keys, y)
    left = 2 * MARGIN + max(map(text_width, categories))
    canvas.muted(left, y, chart.x_label)
    y += 0.5 * LINE
    largest = max((value for _, values in chart.groups for value in values), default=0.0) or 1.0
    scale = Scale(0.0, largest, left, WIDTH - MARGIN - text_width(tick_label(largest)) - 6)
    for i, category in enumerate(categories):
        link = chart.links[i] if chart.links else ""
        canvas.text(left - MARGIN, y + 8 * len(keys) + 4, category, "end")
        for key, (group, values) in zip(keys, chart.groups, strict=True):
            shown, end = tick_label(values[i]), scale(values[i])
            tooltip = f"{group}, {chart.categories[i]}: {shown}"
            canvas.area(_box(left, y + 1, end - left, 14), key.colour, tooltip=tooltip, link=link)
            canvas.text(end + 6, y + 12, shown)
            y += 16
        y += 8
    return canvas.finish(name, WIDTH, y + MARGIN)


def _lines(chart: Lines, name: str) -> Element:
    keys = [
        _Key(
            _short(series.name),
            _colour(look),
            marker="" if series.style in ("solid", *_DASHES) else list(MARKERS)[look % len(MARKERS)],
            dash=_DASHES.get(series.style, _DASHES["dashed"] if look >= len(PALETTE) else ""),
            joined=series.style != "points",
        )
        for place, series in enumerate(chart.series)
        for look in [place if series.colour is None else series.colour]
    ]
    canvas, y = _titled(chart.title)
    y = _add_legend(canvas, keys, y)
    has_incomplete = any(any(series.incomplete) for series in chart.series)
    canvas.muted(MARGIN, y, f"{chart.y_label}, hollow: incomplete" if has_incomplete else chart.y_label)
    x_scale, y_scale = _scales(chart, y + 0.8 * LINE)
    _add_grid(canvas, chart, x_scale, y_scale)
    with_bands = sum(key.joined and bool(key.marker) for key in keys) <= _MOST_BANDS
    for series, key in zip(chart.series, keys, strict=True):
        _add_series(canvas, series, key, x_scale, y_scale, with_bands=with_bands)
    bottom = y_scale.start + 2.2 * LINE
    canvas.muted((x_scale.start + x_scale.end) / 2, bottom, chart.x_label, "middle")
    return canvas.finish(name, WIDTH, bottom + MARGIN)


def _scales(chart: Lines, top: float) -> tuple[Scale, Scale]:
    """From left to right, and from the bottom to `top`."""
    values = [value for one in chart.series for value in (*one.y, *one.low, *one.high)]
    low, high = chart.y_range or (min(values), max(values))
    margin = 0.04 * (high - low)
    y_scale = Scale.over((low - margin, high + margin), top + PLOT_HEIGHT, top)
    left = MARGIN + max(text_width(tick_label(tick)) for tick in y_scale.ticks()) + 8
    places = [x for one in chart.series for x in one.x]
    # Half the width of a number at the outermost points, for their tick labels.
    ends = left + 20, WIDTH - MARGIN - max(text_width(tick_label(max(places))) / 2, 20)
    return Scale.over(places, *ends, log=chart.log_x), y_scale


def _add_grid(canvas: Canvas, chart: Lines, x_scale: Scale, y_scale: Scale) -> None:
    """Horizontal lines with their values, and ticks below: at the points if these are few and the axis logarithmic."""
    start, end = x_scale.start - 20, WIDTH - MARGIN
    for tick in y_scale.ticks():
        y = y_scale(tick)
        canvas.line(((start, y), (end, y)), INK, opacity=0.5 if tick == 0 else 0.15)
        canvas.text(start - 6, y + 4, tick_label(tick), "end")
    points = sorted({x for one in chart.series if one.style in ("line", "points") for x in one.x})
    free = 0.0
    for tick in points if chart.log_x and len(points) <= _MOST_POINT_TICKS else x_scale.ticks():
        x, half = x_scale(tick), text_width(tick_label(tick)) / 2
        if x - half >= free:
            canvas.line(((x, y_scale.start), (x, y_scale.start + 4)), INK, opacity=0.5)
            canvas.text(x, y_scale.start + LINE, tick_label(tick), "middle")
            free = x + half + 6


@dataclass(frozen=True, slots=True)
class _Key:
    """How a series is drawn and what the legend calls it."""

    name: str
    colour: str
    marker: str
    """One of MARKERS, or empty for a curve."""
    dash: str = ""
    joined: bool = False


def _add_series(canvas: Canvas, series: Series, key: _Key, x_scale: Scale, y_scale: Scale, *, with_bands: bool) -> None:
    xs = [x_scale(x) for x in series.x]
    path, lows, highs = (
        [(x, y_scale(value)) for x, value in zip(xs, values, strict=True)]
        for values in (series.y, series.low, series.high)
    )
    if not key.marker:
        canvas.line(path, key.colour, width=1.2, opacity=0.8, dash=key.dash)
        return
    if key.joined and with_bands and len(path) > 1:
        canvas.area((*lows, *reversed(highs)), key.colour, opacity=0.15)
    else:
        for ends in zip(lows, highs, strict=True):
            if ends[0] != ends[1]:
                canvas.line(ends, key.colour, opacity=0.6)
    if key.joined:
        canvas.line(path, key.colour, width=1.8, dash=key.dash)
    for place, (x, y) in enumerate(path):
        low, high = series.low[place], series.high[place]
        interval = "" if low == high else f" [{low:,.4g}, {high:,.4g}]"
        hollow = any(series.incomplete[place : place + 1])
        remark = ", incomplete" if hollow else ""
        tooltip = f"{series.name}, {tick_label(series.x[place])}: {series.y[place]:,.4g}{interval}{remark}"
        canvas.marker(x, y, key.marker, key.colour, tooltip=tooltip, hollow=hollow)


def _titled(title: str, width: float = WIDTH) -> tuple[Canvas, float]:
    """A canvas with the lines of its title, and the baseline of what follows."""
    canvas = Canvas(title)
    lines = textwrap.wrap(one_line(title), int((width - 2 * MARGIN) / (0.62 * SIZE)), max_lines=3, placeholder=" …")
    for place, text in enumerate(lines):
        canvas.text(MARGIN, (place + 1.1) * LINE, text, bold=True)
    return canvas, (len(lines) + 1.4) * LINE


def _add_legend(canvas: Canvas, keys: Sequence[_Key], y: float) -> float:
    """Draw the legend of several series; returns the baseline of what follows."""
    named = [key for key in keys if key.name]
    if len(named) < 2:
        return y
    x = float(MARGIN)
    for key in named:
        width = 30 + text_width(key.name)
        if x > MARGIN and x + width > WIDTH - MARGIN:
            x, y = float(MARGIN), y + LINE
        if key.joined:
            canvas.line(((x, y - 4), (x + 20, y - 4)), key.colour, width=1.8, dash=key.dash)
        if key.marker:
            canvas.marker(x + 10, y - 4, key.marker, key.colour)
        canvas.text(x + 26, y, key.name)
        x += width + 14
    return y + 1.4 * LINE


def _colour(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def _box(x: float, y: float, width: float, height: float) -> tuple[tuple[float, float], ...]:
    return (x, y), (x + width, y), (x + width, y + height), (x, y + height)


def _short(text: str) -> str:
    """`text` as a label; of long text only the end is kept, because paths differ there."""
    shown = one_line(text)
    return shown if len(shown) <= _LONGEST_LABEL else f"…{shown[1 - _LONGEST_LABEL :]}"
