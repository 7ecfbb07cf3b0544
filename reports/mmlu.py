"""MMLU: accuracy over questions, over subjects, by group and by subject, each with chance."""

from evalkit.records import ResultRow, RunRecord, SummaryRow
from evalkit.values import counted
from reports.numbers import between, left_out, measured
from reports.report import SuiteReport, Table

_LABELS = {
    "macro": "all subjects alike (macro)",
    "acc_norm": "all questions, by length (acc_norm)",
    "group/stem": "STEM",
    "group/humanities": "humanities",
    "group/social_sciences": "social sciences",
    "group/other": "other",
}


def report(record: RunRecord) -> SuiteReport:
    """Averages, then one row per subject."""
    chance = next((row.chance for row in record.results if row.chance is not None), None)
    shown = "" if chance is None else f"{chance:.1f}"
    questions = sum(row.n for row in record.results)
    averages = [
        ("all questions alike (micro)", shown, measured(mean.mean, mean.ci95, 1, [_remark(mean)]), f"{questions:,}")
        for mean in record.summary
    ]
    averages += [
        (_LABELS.get(figure.label, figure.label), shown, measured(figure.value, figure.ci95, 1), f"{figure.n:,}")
        for figure in record.figures
        if figure.unit == "points"
    ]
    head = ("chance", "accuracy", "questions")
    tables = (
        Table("MMLU: accuracy (0-100) with 95 % interval", ("average", *head), tuple(averages)),
        *_answers(record),
        Table("By subject, with 95 % interval", ("subject", *head), tuple(map(_subject, record.results))),
    )
    return SuiteReport(tables, _against_chance(record, chance))


def _answers(record: RunRecord) -> list[Table]:
    """How often each letter was the answer."""
    rows = tuple(
        (figure.part, f"{figure.value or 0:,.0f}", f"{100 * (figure.value or 0) / figure.n:.1f}" if figure.n else "")
        for figure in record.figures
        if figure.name == "answered"
    )
    return [Table("Answers given", ("answer", "questions", "% of all"), rows)] if rows else []


def _against_chance(record: RunRecord, chance: float | None) -> tuple[tuple[str, str], ...]:
    """Whether the mean differs from guessing."""
    interval = next((row.ci95 for row in record.summary if row.ci95 is not None), None)
    if chance is None or interval is None:
        return ()
    low, high = interval
    side = (
        "above chance"
        if low > chance
        else "below chance"
        if high < chance
        else "not significantly different from chance"
    )
    return (("against chance", f"{side} ({chance:.1f}; interval{between(interval, 1)})"),)


def _subject(row: ResultRow) -> tuple[str, ...]:
    chance = "" if row.chance is None else f"{row.chance:.1f}"
    shown = measured(row.value, row.ci95, 1, left_out(row.errors, row.unscored))
    return row.task.replace("_", " "), chance, shown, f"{row.n:,}"


def _remark(mean: SummaryRow) -> str:
    return "" if mean.complete else f"not all of MMLU: {counted(mean.tasks, 'subject')}"
