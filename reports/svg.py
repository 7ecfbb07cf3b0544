"""Builds an SVG from paths, markers and text, in pixels with y downwards."""

import re
from collections.abc import Iterable, Mapping
from unicodedata import east_asian_width
from xml.etree.ElementTree import Element, SubElement

from reports.plain_text import one_line

INK = "currentColor"
"""The colour of text: dark on a light page, light on a dark one."""
SIZE, LINE = 12, 17
"""Font size, and the distance between lines."""
MARKERS = {
    "circle": (),
    "square": ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)),
    "triangle": ((0, -4.5), (4.5, 3.5), (-4.5, 3.5)),
    "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
}
Points = Iterable[tuple[float, float]]
_Attributes = Mapping[str, str | float]
_DEFAULTS = {"stroke-width": "1", "opacity": "1", "stroke-dasharray": "", "text-anchor": "start", "font-weight": ""}


class Canvas:
    """An SVG under construction; its elements are `path` of absolute points, `circle`, `text`, and `a` around them."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._marks: list[Element] = []
        self._described: list[str] = []

    def line(self, points: Points, colour: str, *, width: float = 1, opacity: float = 1, dash: str = "") -> None:
        stroke: _Attributes = {"stroke": colour, "stroke-width": width, "stroke-dasharray": dash}
        self._add("path", {"d": _path(points), "fill": "none", **stroke, "opacity": opacity})

    def outline(self, points: Points, colour: str, *, width: float) -> None:
        self._add("path", {"d": f"{_path(points)}z", "fill": "none", "stroke": colour, "stroke-width": width})

    def area(self, points: Points, colour: str, *, opacity: float = 1, tooltip: str = "", link: str = "") -> None:
        self._add("path", {"d": f"{_path(points)}z", "fill": colour, "opacity": opacity}, tooltip, link)

    def marker(self, x: float, y: float, kind: str, colour: str, *, tooltip: str = "", hollow: bool = False) -> None:
        look: _Attributes = {"fill": "none", "stroke": colour, "stroke-width": 1.5} if hollow else {"fill": colour}
        if kind == "circle":
            self._add("circle", {"cx": x, "cy": y, "r": 4, **look}, tooltip)
        else:
            corners = [(x + right, y + down) for right, down in MARKERS[kind]]
            self._add("path", {"d": f"{_path(corners)}z", **look}, tooltip)

    def text(
        self, x: float, y: float, text: str, anchor: str = "start", *, opacity: float = 1, bold: bool = False
    ) -> None:
        """Text with its baseline at `y` and at `x` its start, middle or end."""
        style: _Attributes = {"text-anchor": anchor, "opacity": opacity, "font-weight": "bold" if bold else ""}
        self._add("text", {"x": x, "y": y, **style}).text = _clean(text)

    def muted(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        self.text(x, y, text, anchor, opacity=0.65)

    def finish(self, name: str, width: float, height: float) -> Element:
        """The `svg` element; ids in it begin with `name`. All tooltips together are its description."""
        attributes = {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": _number(width),
            "height": _number(height),
            "viewBox": f"0 0 {_number(width)} {_number(height)}",
            # An element with links is a group; any other is one image.
            "role": "group" if any(mark.tag == "a" for mark in self._marks) else "img",
            "aria-labelledby": f"{name}-title",
            "aria-describedby": f"{name}-desc",
            "font-family": "system-ui,sans-serif",
            "font-size": str(SIZE),
            "fill": INK,
        }
        svg = Element("svg", attributes)
        SubElement(svg, "title", id=f"{name}-title").text = _clean(self._title)
        SubElement(svg, "desc", id=f"{name}-desc").text = _clean("; ".join(self._described))
        svg.extend(self._marks)
        return svg

    def _add(self, tag: str, attributes: _Attributes, tooltip: str = "", link: str = "") -> Element:
        shown = {name: value if isinstance(value, str) else _number(value) for name, value in attributes.items()}
        element = Element(tag, {name: value for name, value in shown.items() if value != _DEFAULTS.get(name)})
        if tooltip:
            SubElement(element, "title").text = _clean(tooltip)
            self._described.append(tooltip)
        parent = Element("a", href=f"#{_clean(link)}") if link else None
        if parent is not None:
            parent.append(element)
        self._marks.append(element if parent is None else parent)
        return element


def text_width(text: str) -> float:
    """Approximate width in pixels, for a wide font."""
    return SIZE * sum(1.0 if east_asian_width(letter) in "WF" else 0.6 for letter in text)


def _path(points: Points) -> str:
    return "M" + " ".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _clean(text: str) -> str:
    # Two characters that XML lacks, besides those that are spelled out.
    return re.sub("[\ufffe\uffff]", "\ufffd", one_line(text))


def _number(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
