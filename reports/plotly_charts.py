"""Charts as Plotly figures, described in JSON for the script in the page."""

import html
import json
from typing import Any

from reports.charts import Bars, Chart, HeatMap, Lines, Series

_MARGIN = {"l": 10, "r": 10, "t": 40, "b": 10}
_FONT = {"family": "system-ui, sans-serif", "size": 12}


def plotly_figure(chart: Chart) -> dict[str, Any]:
    """`data` and `layout` of a chart as plain JSON values; text from outside is escaped, as Plotly reads tags."""
    match chart:
        case HeatMap():
            figure = _heat_map(chart)
        case Lines():
            figure = _lines(chart)
        case Bars():
            figure = _bars(chart)
    figure.update_layout(title={"text": text(chart.title), "font": {"size": 14}}, margin=_MARGIN, font=_FONT)
    figure.update_xaxes(title={"text": text(chart.x_label)}, automargin=True)
    figure.update_yaxes(automargin=True)
    described: dict[str, Any] = json.loads(figure.to_json())
    # A dozen kilobytes of defaults that only repeat what the script has.
    described["layout"].pop("template", None)
    return described


def text(shown: str) -> str:
    """`shown` as Plotly shows it letter by letter: it draws a few HTML tags and entities."""
    return html.escape(shown)


def _figure() -> Any:
    import plotly.graph_objects

    return plotly.graph_objects.Figure()


def _heat_map(chart: HeatMap) -> Any:
    figure = _figure()
    largest = max((abs(value) for row in chart.values for value in row if value is not None), default=0.0) or 1.0
    low, high = (-largest, largest) if chart.is_difference else (0.0, 100.0)
    figure.add_heatmap(
        x=[text(column) for column in chart.columns],
        y=[text(row) for row in chart.rows],
        z=[list(row) for row in chart.values],
        text=[[_shown(value, signed=chart.is_difference) for value in row] for row in chart.values],
        customdata=[list(row) for row in chart.counts],
        texttemplate="%{text}",
        hovertemplate="%{y}, %{x}: %{z:.1f} (%{customdata} samples)<extra></extra>",
        colorscale="RdBu" if chart.is_difference else "Viridis",
        zmin=low,
        zmax=high,
        xgap=1,
        ygap=1,
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed", title={"text": text(chart.y_label)})
    figure.update_layout(height=180 + 26 * len(chart.rows))
    return figure


def _shown(value: float | None, *, signed: bool) -> str:
    return "" if value is None else f"{value:+.0f}" if signed else f"{value:.0f}"


def _lines(chart: Lines) -> Any:
    figure = _figure()
    for series in chart.series:
        figure.add_scatter(
            x=list(series.x),
            y=list(series.y),
            name=text(series.name),
            mode="lines+markers",
            error_y={"type": "data", "symmetric": False, **_error(series)},
            hovertemplate="%{x:,}: %{y:.2f}<extra>%{fullData.name}</extra>",
        )
    if chart.log_x:
        places = sorted({x for series in chart.series for x in series.x})
        figure.update_xaxes(type="log", tickvals=places, ticktext=[f"{x:,.0f}" for x in places])
    figure.update_yaxes(title={"text": text(chart.y_label)})
    if chart.y_range is not None:
        figure.update_yaxes(range=[chart.y_range[0] - 3, chart.y_range[1] + 3])
    figure.update_layout(height=420, showlegend=len(chart.series) > 1)
    return figure


def _error(series: Series) -> dict[str, list[float]]:
    return {
        "array": [max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)],
        "arrayminus": [max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)],
    }


def _bars(chart: Bars) -> Any:
    figure = _figure()
    for name, values in chart.groups:
        figure.add_bar(
            y=[text(category) for category in chart.categories],
            x=list(values),
            name=text(name),
            orientation="h",
            hovertemplate="%{y}: %{x}<extra>%{fullData.name}</extra>",
        )
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_layout(height=140 + 40 * len(chart.categories), barmode="group", showlegend=len(chart.groups) > 1)
    return figure
