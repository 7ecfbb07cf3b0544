"""The report of a gate: its verdict, and the reason for each check."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from evalkit.analysis.gate import GateResult
from evalkit.analysis.gate_explain import ExplainedCheck
from evalkit.analysis.gate_false_alarm import FalseAlarm
from evalkit.analysis.gate_verdict import GateVerdict
from evalkit.records import ModelIdentity
from evalkit.values import counted
from reports.comparison_report import describe_run
from reports.numbers import amount, decimals, signed
from reports.report import Report, Table
from reports.run_report import labelled

_ORDER = {"fail": 0, "undecided": 1, "pass": 2}
COLUMNS = ("what", "tier", "rule", "BASE", "NEW", "drop or increase", "n", "outcome", "why")


def gate_report(result: GateResult) -> Report:
    """The report of a gate: what did not pass, checks that fail it first, then what passed."""
    verdicts = sorted(
        result.verdicts, key=lambda verdict: (not verdict.fails_gate, verdict.passes, _ORDER[verdict.outcome])
    )
    return Report(
        headline=headline(result),
        notices=(),
        tables=tuple(_tables(result, verdicts)),
        facts=(
            *(("BASE", describe_run(run)) for run in result.base),
            *(("NEW", describe_run(run)) for run in result.new),
            *_sample_commands(result),
            ("policy", result.policy),
            ("false alarms", false_alarm_text(result.false_alarm, result.error_rate)),
        ),
    )


def _sample_commands(result: GateResult) -> Iterator[tuple[str, str]]:
    """For each suite, the command that shows the samples behind the checks, if one did not pass."""
    if all(verdict.outcome == "pass" for verdict in result.verdicts):
        return
    of_base = {run.suite: run for run in result.base}
    for run in result.new:
        if run.suite in of_base:
            sides = shlex.join((of_base[run.suite].folder, run.folder))
            yield f"samples of {run.suite}", f"evalkit compare {sides} --format html > {run.suite}.html"


def _tables(result: GateResult, verdicts: Sequence[GateVerdict]) -> Iterator[Table]:
    generated = [role for run in (*result.base, *result.new) for role in run.generated]
    for title, is_detail in (("Not passed", False), ("Passed", True)):
        rows = tuple(_row(verdict) for verdict in verdicts if (verdict.outcome == "pass") == is_detail)
        if rows:
            table = Table(title, COLUMNS, rows, is_detail=is_detail, prose=COLUMNS[-1:])
            yield labelled(table, _models(result), generated)


def _models(result: GateResult) -> dict[str, ModelIdentity]:
    sides = (("BASE", result.base), ("NEW", result.new))
    return {f"{side} {run.run_id}": run.model for side, runs in sides for run in runs}


def headline(result: GateResult) -> str:
    """`gate PASSED` or `gate FAILED`, with the counts."""
    return f"gate {'PASSED' if result.passed else 'FAILED'}: {', '.join(_counts(result))}"


def _counts(result: GateResult) -> Iterator[str]:
    """Counts of checks: failed, by their tier, undecided and passed."""
    failed = [verdict for verdict in result.verdicts if verdict.outcome == "fail"]
    tolerated: Counter[str] = Counter(verdict.tier for verdict in failed if not verdict.fails_gate)
    may_fail = {"supporting": f" (up to {result.supporting_failures} may)", "advisory": ""}
    if number := sum(verdict.fails_gate for verdict in failed):
        yield f"{number} failed"
    yield from (f"{tolerated[tier]} {tier} failed{may}" for tier, may in may_fail.items() if tolerated[tier])
    for outcome, named in (("undecided", "undecided"), ("pass", "passed")):
        if number := sum(verdict.outcome == outcome for verdict in result.verdicts):
            yield f"{number} {named}"


def failure_line(verdict: GateVerdict) -> str:
    tier = "" if verdict.tier == "critical" else f" ({verdict.tier})"
    return f"{verdict.target}, {rule_text(verdict)}{tier}: {verdict.reason}."


def false_alarm_text(alarm: FalseAlarm, error_rate: float) -> str:
    """The probability that the gate fails a run without any true difference, with its parts."""
    judged, parts = alarm.tests + alarm.must_be_shown, []
    if alarm.tests:
        rate = f" share error_rate {100 * error_rate:g}%" if alarm.tests > 1 else ""
        parts.append(f"{_percent(alarm.by_chance)} by chance ({counted(alarm.tests, 'test')} of a drop{rate})")
    if alarm.must_be_shown:
        checks = counted(alarm.must_be_shown, "check")
        parts.append(f"about {_percent(alarm.not_shown)} because {checks} must show that a drop is at most the limit")
    text = f"a run without any true difference fails with a probability of at most {_percent(alarm.probability)}: "
    others = f"{counted(alarm.not_counted, 'check')} of floors, times and memory"
    if not judged:
        return f"unknown, because {others} are compared as measured" if alarm.not_counted else "0 %: nothing can fail"
    return text + ", ".join(parts) + (f"; {others} not counted" if alarm.not_counted else "")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def rule_text(check: GateVerdict | ExplainedCheck) -> str:
    """The check as a policy has it, such as `max_drop: 1`."""
    limit = f"{100 * check.limit:g}%" if check.kind == "max_increase" else f"{check.limit:g}"
    return f"{check.kind}: {limit}"


def _row(verdict: GateVerdict) -> tuple[str, ...]:
    at = "" if verdict.confidence is None else f" ({100 * verdict.confidence:.4g} %)"
    return (
        verdict.target,
        verdict.tier,
        rule_text(verdict) + at,
        _value(verdict.base, verdict.unit),
        _value(verdict.new, verdict.unit),
        _change(verdict),
        str(verdict.n) if verdict.n else "-",
        _outcome(verdict),
        verdict.reason,
    )


def _outcome(verdict: GateVerdict) -> str:
    shown: str = verdict.outcome
    if shown == "undecided":
        shown += f" ({'passes' if verdict.passes else 'fails'})"
    return shown if verdict.passes or verdict.fails_gate else f"{shown}, tolerated"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit in ("bytes", "s per sample"):
        return amount(value, unit)
    return f"{value:,.4g}" if not unit else f"{value:.{decimals(unit)}f}"


def _change(verdict: GateVerdict) -> str:
    if verdict.kind == "max_increase":
        return "-" if verdict.drop is None else f"{verdict.drop:+.1%}"
    return signed(verdict.drop, verdict.interval, verdict.unit)
