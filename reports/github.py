"""A gate's verdicts as GitHub workflow annotations.

Workflow commands are lines such as `::error title=…::message`. Characters that would end a property or a line are
escaped as in GitHub's toolkit.
"""

from evalkit.analysis.gate import GateResult
from evalkit.analysis.gate_verdict import GateVerdict
from reports.gate_report import headline, rule_text
from reports.plain_text import one_line


def render_annotations(result: GateResult) -> str:
    """One error per check that fails the gate, one warning per other check that did not pass, and a notice."""
    lines = [_annotation(verdict) for verdict in result.verdicts if verdict.outcome != "pass"]
    return "\n".join([*lines, f"::notice title=evalkit gate::{escape_message(headline(result))}"]) + "\n"


def escape_message(text: str) -> str:
    """Text after the second `::`."""
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Text of a property such as the title."""
    return escape_message(text).replace(":", "%3A").replace(",", "%2C")


def _annotation(verdict: GateVerdict) -> str:
    level = "error" if verdict.fails_gate else "warning"
    title = escape_property(f"gate ({verdict.tier}): {verdict.target} {rule_text(verdict)}")
    return f"::{level} title={title}::{escape_message(verdict.reason)}"
