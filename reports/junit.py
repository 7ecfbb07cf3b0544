"""A gate's verdicts as JUnit XML, which CI systems show as tests."""

import re
import xml.etree.ElementTree as ElementTree

from evalkit.analysis.gate import GateResult
from evalkit.analysis.gate_verdict import GateVerdict
from reports.gate_report import failure_line, rule_text
from reports.plain_text import one_line

# Characters that XML 1.0 forbids, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(result: GateResult) -> str:
    """One test case per check and target; only checks that fail the gate are failures, others are in the output."""
    failures = sum(verdict.fails_gate for verdict in result.verdicts)
    suite = ElementTree.Element(
        "testsuite",
        name="evalkit gate",
        tests=str(len(result.verdicts)),
        failures=str(failures),
        errors="0",
        skipped="0",
    )
    for verdict in result.verdicts:
        _add_case(suite, verdict)
    root = ElementTree.Element("testsuites", tests=suite.get("tests", ""), failures=str(failures))
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: ElementTree.Element, verdict: GateVerdict) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_text(f"evalkit.gate.{verdict.rule}"),
        name=_text(f"{verdict.target} {rule_text(verdict)} [{verdict.tier}]"),
    )
    if verdict.fails_gate:
        failure = ElementTree.SubElement(case, "failure", type=verdict.outcome, message=_text(verdict.reason))
        failure.text = _text(failure_line(verdict))
    elif verdict.outcome != "pass":
        ElementTree.SubElement(case, "system-out").text = _text(f"{verdict.outcome}: {verdict.reason}")


def _text(text: str) -> str:
    return _FORBIDDEN.sub("", one_line(text))
