"""A gate's reports for people, CI systems and GitHub, with hostile text."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evalkit.analysis.gate import GateResult, gate
from evalkit.analysis.gate_margins import first_rules
from evalkit.analysis.policy import parse_policy
from evalkit.records import Environment, Figure, Gpu
from reports import markdown, terminal
from reports.gate_report import gate_report
from reports.github import escape_message, escape_property, render_annotations
from reports.junit import render_junit
from reports.policy_template import policy_template
from tests.evalkit.run_factory import RunSpec, changed, make_run
from tests.reports.hostile_text import HOSTILE_TEXTS, VISIBLE_TEXTS
from tests.reports.parsed import check_markdown

RULES = """
supporting_failures: 1
rules:
  ruler@4096: {max_drop: 1.0}
  ruler/effective_length: {min: 8192, tier: supporting}
  ruler/wavg_increasing: {min: 99, tier: advisory}
  ruler/vt@4096: {non_inferior: 2.0, min: 80}
  ruler/cwe@4096: {max_drop: 0}
  prefill_seconds: {max_increase: 5%}
  peak_memory: {max_increase: 5%}
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> GateResult:
    folder = tmp_path_factory.mktemp("runs")
    base = RunSpec(
        {("vt", 4096): [1.0] * 90 + [0.0] * 10, ("cwe", 4096): [1.0] * 100},
        effective_length=4096,
        figures=(Figure("wavg_increasing", 78.5, "points"),),
    )
    scores = {("vt", 4096): [0.0] * 30 + [1.0] * 60 + [0.0] * 10, ("cwe", 4096): [0.0] * 3 + [1.0] * 97}
    new = changed(base, scores, prefill_seconds=1.2)
    found = gate([make_run(folder / "base", base)], [make_run(folder / "new", new)], parse_policy(RULES, "p"))
    base_run, new_run = (replace(run, folder=f"runs/{run.run_id}") for run in (*found.base, *found.new))
    return replace(found, base=(base_run,), new=(new_run,))


def test_markdown(result: GateResult, check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/gate.md", markdown.render(gate_report(result)))


def test_terminal(result: GateResult, check_golden: Callable[[str, str], None]) -> None:
    console = Console(width=200, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as capture:
        terminal.print_report(console, gate_report(result))
    check_golden("reports/gate.txt", capture.get())


def test_junit(result: GateResult, check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/gate.junit.xml", render_junit(result))


def test_annotations(result: GateResult, check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/gate.annotations.txt", render_annotations(result))


def spoiled(result: GateResult, text: str) -> GateResult:
    """`result` with `text` in every text field from a run or a policy."""
    verdicts = tuple(replace(verdict, rule=text, target=text, reason=text) for verdict in result.verdicts)
    run = replace(result.base[0], run_id=text, model=replace(result.base[0].model, path=text, family=text))
    return replace(result, verdicts=verdicts, policy=text, base=(run,), new=(run,))


any_text = st.text(max_size=40) | st.sampled_from(HOSTILE_TEXTS)


@given(any_text)
def test_junit_is_xml_that_says_the_same(result: GateResult, text: str) -> None:
    root = ElementTree.fromstring(render_junit(spoiled(result, text)).encode())
    cases = root.findall("./testsuite/testcase")
    assert len(cases) == len(result.verdicts)
    assert len(root.findall(".//failure")) == sum(verdict.fails_gate for verdict in result.verdicts)
    assert {child.tag for case in cases for child in case} <= {"failure", "system-out"}


@given(any_text)
def test_an_annotation_is_one_command_on_one_line(result: GateResult, text: str) -> None:
    lines = render_annotations(spoiled(result, text)).splitlines()
    assert len(lines) == sum(verdict.outcome != "pass" for verdict in result.verdicts) + 1
    for line in lines:
        assert re.fullmatch(r"::(error|warning|notice) title=[^:,\r\n]*::[^\r\n]*", line), line


def test_githubs_escapes() -> None:
    assert escape_message("100%\r\n::error::x") == "100%25 ::error::x"
    assert escape_property("a:b,c%") == "a%3Ab%2Cc%25"


@pytest.mark.parametrize("text", VISIBLE_TEXTS)
def test_hostile_text_is_no_markup(result: GateResult, text: str) -> None:
    check_markdown(lambda shown: markdown.render(gate_report(spoiled(result, shown))), text)


def test_a_written_policy_is_read_and_passed_by_its_baseline(
    tmp_path: Path, check_golden: Callable[[str, str], None]
) -> None:
    ruler = RunSpec(
        {("vt", 4096): [1.0, 1.0, 0.0], ("cwe", 4096): [1.0] * 3, ("vt", 65536): [0.0, 1.0, 0.5]},
        effective_length=4096,
    )
    loss = RunSpec({("text", 4096): [0.5, 0.7]}, suite="loss", metric="bits_per_byte")
    track = RunSpec({("parity:64", 0): [1.0, 0.0], ("s5:64", 0): [1.0, 1.0]}, suite="track")
    many = {(f"mmlu_{name}", 0): [1.0, 0.0] * 100 for name in "abc"}
    mmlu = RunSpec(many, suite="mmlu", metric="accuracy")
    runs = [make_run(tmp_path / spec.suite, spec) for spec in (loss, mmlu, ruler, track)]
    text = policy_template([run.record for run in runs], first_rules(runs))
    check_golden("reports/gate_policy.yaml", text)
    assert gate(runs, runs, parse_policy(text)).passed
    # The commented-out lines are valid too.
    commented = re.findall(r"^  # (\S+: \{.*\})", text, re.MULTILINE)
    assert parse_policy("rules:\n" + "\n".join(f"  {line}" for line in commented))


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_a_policy_of_hostile_names_is_yaml(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path / "run", RunSpec({("vt", 4096): [1.0] * 100, ("cwe", 4096): [1.0] * 100}))
    record = replace(run.record, run_id=text, dialect=text, environment=Environment(gpu=Gpu(text)))
    rules = first_rules([run])
    assert set(yaml.safe_load(policy_template([record], rules))["rules"]) == {"ruler@4096"}


def test_forced_positions_are_in_the_title(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0, 0.0]}, override="none")
    policy = parse_policy("rules: {ruler: {max_drop: 1}}")
    runs = [make_run(tmp_path / name, spec) for name, spec in (("base", base), ("new", changed(base, base.scores)))]
    (table,) = gate_report(gate(runs[:1], runs[1:], policy)).tables
    assert table.title == (
        "Not passed · CONTROL EXPERIMENT: BASE base with positions forced to none, "
        "NEW new with positions forced to none"
    )
