"""The HTML page of a run or a comparison: one file that opens offline.

Tables are plain HTML. Charts are drawn by Plotly's own script, inlined from the installed package, and the samples
are browsed by a script of this project; both read their data from a JSON block, and everything that comes from
outside reaches the document as text.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from evalkit.records.codec import to_dict
from evalkit.views.samples import SampleView, tasks_and_lengths
from reports.charts import Chart
from reports.html import environment
from reports.plain_text import visible
from reports.plotly_charts import plotly_figure
from reports.report import Report


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows."""

    report: Report
    charts: tuple[Chart, ...]
    samples: tuple[SampleView, ...]
    command: str
    """Shows one sample in full, with ID in the place of its id."""


def render_page(page: Page) -> str:
    """The page as one HTML document; the only scripts that a browser will run in it are the two of this package."""
    scripts = (_plotly_script(), _browser_script())
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            report=page.report,
            charts=page.charts,
            has_samples=bool(page.samples),
            is_comparison=any(view.base is not None for view in page.samples),
            data=embedded_json(_data(page)),
            scripts=[Markup(script) for script in scripts],
            hashes=[_hash(script) for script in scripts],
        )
    )


def embedded_json(value: Any) -> Markup:
    """A JSON text that no parser of HTML or of scripts can take for anything else."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # It is ASCII already, U+2028 included.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _data(page: Page) -> dict[str, Any]:
    tasks, lengths = tasks_and_lengths(page.samples)
    return {
        "charts": [plotly_figure(chart) for chart in page.charts],
        "samples": [_visible(to_dict(view)) for view in page.samples],
        "tasks": [visible(task) for task in tasks],
        "lengths": lengths,
        "command": visible(page.command),
    }


def _visible(value: Any) -> Any:
    """`value` with what could hide or reorder text spelled out in every string."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return _closed(get_plotlyjs())


@cache
def _browser_script() -> str:
    return _closed(resources.files("reports").joinpath("templates", "browser.js").read_text(encoding="utf-8"))


def _closed(script: str) -> str:
    """A script without what would end its element or hide its end; both can only stand in its string literals."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
