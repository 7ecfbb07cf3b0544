"""Reports as HTML pages: one file that opens offline and loads nothing.

Tables are HTML and charts are inline SVG, complete without a script. Two scripts of this package add to them: one sorts
tables, and if there are samples, the other browses them. It reads them from a compressed block, and everything that
comes from outside reaches the document as text.
"""

import base64
import hashlib
import json
import shlex
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from xml.etree.ElementTree import tostring

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evalkit.records.codec import to_dict
from evalkit.views.samples import Filters, SampleView
from reports.charts import Chart
from reports.drawing import draw
from reports.plain_text import one_line, visible
from reports.report import Report


@dataclass(frozen=True, slots=True)
class RunSamples:
    """Samples of one run, or of several with the same questions."""

    folder: str
    """Where a run with these prompts is stored."""
    views: Sequence[SampleView]
    names: Sequence[str] = ("",)
    """Of the models, in the order of the answers."""
    suite: str = ""
    """Suite of the samples, which other suites of the page may have under the same ids."""


@dataclass(frozen=True, slots=True)
class Page:
    """The contents of a page."""

    report: Report
    charts: Sequence[Chart] = ()
    samples: Sequence[RunSamples] = ()


def render_page(page: Page) -> str:
    """The page as one HTML document; its policy lets a browser run this package's scripts alone."""
    views = [view for run in page.samples for view in run.views]
    browsing = _script("browser.js") if views else ""
    sorting = _script("tables.js") if any(len(table.rows) > 1 for table in page.report.tables) else ""
    scripts = [script for script in (browsing, sorting) if script]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            report=page.report,
            charts=[
                Markup(tostring(draw(chart, f"chart-{place}"), "unicode")) for place, chart in enumerate(page.charts)
            ],
            tables=[table for table in page.report.tables if not table.is_detail],
            details=[table for table in page.report.tables if table.is_detail],
            filters=Filters.of(views),
            suites=_suites(page.samples),
            is_comparison=any(len(run.names) > 1 for run in page.samples),
            data=_packed(page.samples) if views else "",
            browsing=Markup(browsing),
            sorting=Markup(sorting),
            allowed=Markup(" ".join(map(_hash, scripts)) or "'none'"),
        )
    )


def _hash(script: str) -> str:
    """The script as a source expression of a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _packed(samples: Sequence[RunSamples]) -> str:
    """Samples as JSON, compressed with zlib, in base64: letters that end no element."""
    several = len(_suites(samples)) > 1
    listed = [
        {
            **to_dict(view),
            **({"suite": run.suite} if several else {}),
            "command": _command(run.folder, view.id),
            "names": run.names,
        }
        for run in samples
        for view in run.views
    ]
    text = json.dumps(_visible(listed), allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _suites(samples: Sequence[RunSamples]) -> list[str]:
    return list(dict.fromkeys(run.suite for run in samples))


def _command(folder: str, sample: str) -> str:
    """The command that prints a sample with its whole prompt."""
    return shlex.join(("evalkit", "show", folder, "--sample", sample, "--format", "json"))


def _visible(value: Any) -> Any:
    """`value` with characters that could hide or reorder text spelled out in every string."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def _script(name: str) -> str:
    """A script without comments and indentation, which every page would carry."""
    text = resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if not line.startswith("//"))


@cache
def _environment() -> Environment:
    """Templates of this package; every piece of text is escaped in all of them."""
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"one_line": one_line, "visible": visible}
    return made
