"""MMLU: accuracy over questions, over subjects, by group and by subject, with chance beside each."""

from collections.abc import Sequence

from evalkit.records import Figure, ResultRow, SummaryRow
from reports.report import Table

_LABELS = {
    "macro": "all subjects alike (macro)",
    "acc_norm": "all questions, by length (acc_norm)",
    "group/stem": "STEM",
    "group/humanities": "humanities",
    "group/social_sciences": "social sciences",
    "group/other": "other",
}


def mmlu_tables(results: Sequence[ResultRow], summary: Sequence[SummaryRow], figures: Sequence[Figure]) -> list[Table]:
    """Averages first, then a row for each subject."""
    chance = next((row.chance for row in results if row.chance is not None), None)
    shown = "" if chance is None else f"{chance:.1f}"
    questions = sum(row.n for row in results)
    averages = [
        ("all questions alike (micro)", shown, _value(mean.mean, mean.ci95, _remark(mean)), f"{questions:,}")
        for mean in summary
    ]
    averages += [
        (_LABELS.get(figure.name, figure.name), shown, _value(figure.value, figure.ci95), f"{figure.n:,}")
        for figure in figures
    ]
    head = ("chance", "accuracy", "questions")
    return [
        Table("MMLU: accuracy (0-100) with 95 % interval", ("average", *head), tuple(averages)),
        Table("By subject, with 95 % interval", ("subject", *head), tuple(map(_subject, results))),
    ]


def chance_facts(results: Sequence[ResultRow], summary: Sequence[SummaryRow]) -> tuple[tuple[str, str], ...]:
    """Whether the mean can be told from guessing."""
    chance = next((row.chance for row in results if row.chance is not None), None)
    mean = next((row for row in summary if row.ci95 is not None), None)
    if chance is None or mean is None or mean.ci95 is None:
        return ()
    low, high = mean.ci95
    side = "above chance" if low > chance else "below chance" if high < chance else "cannot be told from chance"
    return (("against chance", f"{side} ({chance:.1f}; interval [{low:.1f}, {high:.1f}])"),)


def _subject(row: ResultRow) -> tuple[str, ...]:
    left_out = [f"{row.errors} errored"] if row.errors else []
    left_out += [f"{row.unscored} unscored"] if row.unscored else []
    chance = "" if row.chance is None else f"{row.chance:.1f}"
    return row.task.replace("_", " "), chance, _value(row.value, row.ci95, ", ".join(left_out)), f"{row.n:,}"


def _remark(mean: SummaryRow) -> str:
    return "" if mean.complete else f"not all of MMLU: {mean.tasks} subject{'' if mean.tasks == 1 else 's'}"


def _value(value: float | None, ci95: tuple[float, float] | None, remark: str = "") -> str:
    interval = "" if ci95 is None else f" [{ci95[0]:.1f}, {ci95[1]:.1f}]"
    shown = "unscored" if value is None else f"{value:.1f}{interval}"
    return f"{shown} ({remark})" if remark else shown
