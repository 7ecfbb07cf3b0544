"""Reports as one HTML file that opens offline; every piece of text is escaped by the template engine."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.plain_text import one_line
from reports.report import Report


def render_html(report: Report) -> str:
    """A report as an HTML document without scripts."""
    return environment().get_template("report.html.jinja").render(report=report)


@cache
def environment() -> Environment:
    """Templates of this package, with escaping on in all of them."""
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    made.filters["one_line"] = one_line
    return made
