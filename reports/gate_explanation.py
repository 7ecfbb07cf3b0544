"""The report of `evalkit gate --explain`: what a policy can detect."""

from evalkit.analysis.gate_explain import ExplainedCheck, Explanation
from reports.comparison_report import describe_run
from reports.gate_report import false_alarm_text, rule_text
from reports.numbers import decimals
from reports.report import Report, Table

COLUMNS = (
    "what",
    "tier",
    "rule",
    "pairs",
    "detectable (80 % power)",
    "fails without a drop",
    "samples needed",
    "note",
)


def explanation_report(explanation: Explanation) -> Report:
    """The report of `evalkit gate --explain`."""
    return Report(
        headline=f"what {explanation.policy} can decide",
        notices=(),
        tables=(Table("Checks", COLUMNS, tuple(_row(check) for check in explanation.checks)),),
        facts=(
            *(("BASE", describe_run(run)) for run in explanation.base),
            *(("NEW", describe_run(run)) for run in explanation.new),
            ("samples", _samples(explanation)),
            ("assumption", _assumption(explanation)),
            ("samples needed", _NEEDED),
            ("false alarms", false_alarm_text(explanation.false_alarm, explanation.error_rate)),
        ),
    )


_NEEDED = "per task and length, so that a run without a drop shows with 80 % power that its drop is at most the limit"


def _row(check: ExplainedCheck) -> tuple[str, ...]:
    places = decimals(check.unit)
    return (
        check.target,
        check.tier,
        rule_text(check),
        "-" if check.pairs is None else f"{check.pairs:,}",
        "-" if check.detectable is None else f"{check.detectable:.{places}f}",
        _share(check.fails_without_drop),
        "-" if check.samples_needed is None else f"{check.samples_needed:,}",
        check.note,
    )


def _share(share: float | None) -> str:
    if share is None:
        return "-"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.3g} %"


def _samples(explanation: Explanation) -> str:
    if explanation.samples is None:
        return "per task and length as many as the runs hold"
    return f"{explanation.samples:,} per task and length"


def _assumption(explanation: Explanation) -> str:
    if explanation.changed is None:
        return "as many answers differ between two equal runs as between BASE and NEW"
    return (
        f"{100 * explanation.changed:g} % of the answers differ between two equal runs, wholly, and as many for the "
        "better as for the worse; a drop adds half its size"
    )
