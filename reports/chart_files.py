"""Charts as PNG and SVG files, the same bytes for the same chart."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from evalkit.errors import UsageError
from reports.charts import Bars, Chart, HeatMap, Lines
from reports.drawing import draw
from reports.svg import INK, SIZE

_DARK_INK = "#1b1b1b"
_STYLE = (
    f"text{{pointer-events:none}}svg{{color:{_DARK_INK};background:#fff}}"
    "@media(prefers-color-scheme:dark){svg{color:#e6e6e6;background:#161616}}"
)
_PIXELS_PER_INCH, _POINTS_PER_PIXEL, _DPI = 96, 0.75, 192
_ALIGNMENTS: dict[str, Literal["left", "center", "right"]] = {"start": "left", "middle": "center", "end": "right"}


def write_charts(charts: Sequence[Chart], folder: Path, prefix: str = "") -> list[Path]:
    """Draw each chart into `folder` as `<prefix><name>.png` and `.svg`; returns the files.

    Raises UsageError if the folder cannot be written.
    """
    written = []
    try:
        for chart in charts:
            folder.mkdir(parents=True, exist_ok=True)
            png, text = (folder / f"{prefix}{chart.name}.{suffix}" for suffix in ("png", "svg"))
            # A file has no samples that a cell could lead to.
            svg = draw(_without_links(chart), chart.name)
            _write_png(svg, png)
            SubElement(svg, "style").text = _STYLE
            text.write_text(tostring(svg, encoding="unicode") + "\n", encoding="utf-8", newline="\n")
            written += [png, text]
    except OSError as error:
        raise UsageError(f"charts cannot be written to {folder}: {error.strerror}") from None
    return written


def _without_links(chart: Chart) -> Chart:
    match chart:
        case HeatMap():
            return replace(chart, links=())
        case Bars():
            return replace(chart, links=())
        case Lines():
            return chart


def _write_png(svg: Element, file: Path) -> None:
    """Draw the elements of a Canvas with matplotlib, which has a font of its own, in dark ink on white."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, PathPatch
    from matplotlib.path import Path as Outline

    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    figure = Figure(figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for mark in svg.iter():
        fill, alpha = _colour(mark.get("fill", INK)), float(mark.get("opacity", 1))
        match mark.tag:
            case "path":
                numbers = [float(number) for number in re.findall(r"-?[\d.]+", mark.attrib["d"])]
                corners = list(zip(numbers[::2], numbers[1::2], strict=True))
                is_closed = mark.attrib["d"].endswith("z")
                outline = Outline([*corners, corners[0]] if is_closed else corners, closed=is_closed)
                axes.add_artist(PathPatch(outline, facecolor=fill, alpha=alpha, **_stroke(mark)))
            case "circle":
                x, y, radius = (float(mark.attrib[name]) for name in ("cx", "cy", "r"))
                axes.add_artist(Circle((x, y), radius, facecolor=fill, **_stroke(mark)))
            case "text":
                axes.text(
                    float(mark.attrib["x"]),
                    float(mark.attrib["y"]),
                    mark.text or "",
                    horizontalalignment=_ALIGNMENTS[mark.get("text-anchor", "start")],
                    fontsize=SIZE * _POINTS_PER_PIXEL,
                    fontweight=mark.get("font-weight", "normal"),
                    color=fill,
                    alpha=alpha,
                    parse_math=False,
                )
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, dpi=_DPI, metadata={"Software": None})


def _stroke(mark: Element) -> dict[str, Any]:
    width = float(mark.get("stroke-width", 1))
    # Matplotlib's dashes are multiples of the width.
    dash = tuple(float(length) / width for length in mark.get("stroke-dasharray", "").split())
    return {
        "edgecolor": _colour(mark.get("stroke", "none")),
        "linewidth": width * _POINTS_PER_PIXEL,
        "linestyle": (0, dash) if dash else "-",
    }


def _colour(colour: str) -> str:
    return _DARK_INK if colour == INK else colour
