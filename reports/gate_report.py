"""What a gate decided, and why."""

from collections.abc import Sequence

from evalkit.analysis.comparison import ComparedRun
from evalkit.analysis.gate import GateResult, Verdict
from evalkit.records import ModelIdentity
from reports.comparison_report import amount, decimals, signed
from reports.report import Report, Table
from reports.run_report import describe_model, labelled

_ORDER = {"fail": 0, "undecided": 1, "pass": 2}


def gate_report(result: GateResult) -> Report:
    """The report of a gate; what failed stands first."""
    verdicts = sorted(result.verdicts, key=lambda verdict: (verdict.passes, _ORDER[verdict.outcome]))
    return Report(
        headline=headline(result),
        notices=tuple(failure_line(verdict) for verdict in verdicts if not verdict.passes),
        tables=(labelled(Table("Checks", COLUMNS, tuple(_row(verdict) for verdict in verdicts)), _models(result)),),
        facts=(
            *(("BASE", _run(run)) for run in result.base),
            *(("NEW", _run(run)) for run in result.new),
            ("policy", result.policy),
        ),
    )


def _models(result: GateResult) -> dict[str, ModelIdentity]:
    sides = (("BASE", result.base), ("NEW", result.new))
    return {f"{side} {run.run_id}": run.model for side, runs in sides for run in runs}


COLUMNS = ("what", "rule", "BASE", "NEW", "drop or increase", "n", "outcome", "why")


def headline(result: GateResult) -> str:
    """`gate PASSED` or `gate FAILED`, with the counts."""
    return f"gate {'PASSED' if result.passed else 'FAILED'}: {counts(result.verdicts)}"


def counts(verdicts: Sequence[Verdict]) -> str:
    numbers = {outcome: sum(verdict.outcome == outcome for verdict in verdicts) for outcome in _ORDER}
    named = {"fail": "failed", "undecided": "undecided", "pass": "passed"}
    return ", ".join(f"{number} {named[outcome]}" for outcome, number in numbers.items() if number)


def failure_line(verdict: Verdict) -> str:
    return f"{verdict.target}, {rule_text(verdict)}: {verdict.reason}."


def rule_text(verdict: Verdict) -> str:
    """The check as a policy has it, such as `max_drop: 1`."""
    limit = f"{100 * verdict.limit:g}%" if verdict.kind == "max_increase" else f"{verdict.limit:g}"
    return f"{verdict.kind}: {limit}"


def _row(verdict: Verdict) -> tuple[str, ...]:
    at = "" if verdict.confidence is None else f" at {verdict.confidence:.4g}"
    return (
        verdict.target,
        rule_text(verdict) + at,
        _value(verdict.base, verdict.unit),
        _value(verdict.new, verdict.unit),
        _change(verdict),
        str(verdict.n) if verdict.n else "-",
        _outcome(verdict),
        verdict.reason,
    )


def _outcome(verdict: Verdict) -> str:
    if verdict.outcome != "undecided":
        return verdict.outcome
    return f"undecided, {'passes' if verdict.passes else 'fails'} by policy"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit in ("bytes", "s a sample"):
        return amount(value, unit)
    return f"{value:,.4g}" if not unit else f"{value:.{decimals(unit)}f}"


def _change(verdict: Verdict) -> str:
    if verdict.kind == "max_increase":
        return "-" if verdict.drop is None else f"{verdict.drop:+.1%}"
    return signed(verdict.drop, verdict.interval, verdict.unit)


def _run(run: ComparedRun) -> str:
    return f"{run.run_id}: {run.model.name}; {describe_model(run.model)}"
