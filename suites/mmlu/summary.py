"""From sample records to accuracies by subject, by group and over all, with intervals."""

from collections.abc import Sequence

from evalkit.records import Figure, ResultRow, SampleRecord, SuiteSummary, SummaryRow, UnscoredCell
from evalkit.statistics.rows import mean_of_tasks, result_row, row_warnings, score_figure
from suites.mmlu.questions import CHOICES
from suites.mmlu.settings import MmluSettings
from suites.mmlu.subjects import GROUPS, SUBJECTS

ACC = "acc"
CHANCE = 100 / CHOICES
MACRO = "macro"
GROUP = "group/"
"""Prefix of the groups' figures."""
ACC_NORM = "acc_norm"


def summarize(settings: MmluSettings, records: Sequence[SampleRecord]) -> SuiteSummary:
    """A row for each subject; the mean is over questions (micro), the mean over subjects (macro) is a figure."""
    by_subject = {subject: [record for record in records if record.task == subject] for subject in settings.subjects}
    rows = tuple(result_row(subject, 0, here, metric=ACC, chance=CHANCE) for subject, here in by_subject.items())
    scored = {subject: _scores(here) for subject, here in by_subject.items()}
    groups = {
        group: [score for subject in subjects for score in scored.get(subject, ())]
        for group, subjects in GROUPS.items()
    }
    return SuiteSummary(
        results=rows,
        warnings=row_warnings(rows),
        summary=(_mean(settings, rows, [score for scores in scored.values() for score in scores]),),
        effective_length=None,
        figures=(
            score_figure(MACRO, [scores for scores in scored.values() if scores]),
            *(score_figure(f"{GROUP}{group}", [scores]) for group, scores in groups.items() if scores),
            *_normalized(settings, records),
        ),
        unscored=tuple(
            UnscoredCell(record.task, record.ctx, record.unscored) for record in records if record.unscored is not None
        ),
    )


def _mean(settings: MmluSettings, rows: Sequence[ResultRow], scores: Sequence[float]) -> SummaryRow:
    value, interval = mean_of_tasks([scores])
    whole = settings.samples is None and settings.subjects == SUBJECTS
    return SummaryRow(
        ctx=0,
        mean=value,
        ci95=interval,
        tasks=sum(row.value is not None for row in rows),
        complete=whole and not any(row.errors or row.unscored for row in rows),
        by_sample=True,
    )


def _normalized(settings: MmluSettings, records: Sequence[SampleRecord]) -> list[Figure]:
    """Accuracy where each choice's log-probability is divided by its characters."""
    if settings.variant != "cloze":
        return []
    return [score_figure(ACC_NORM, [[record.measures[ACC_NORM] for record in records if record.score is not None]])]


def _scores(records: Sequence[SampleRecord]) -> list[float]:
    return [record.score for record in records if record.score is not None]
