"""Accuracies by subject, by group and over all, with intervals, computed from the samples."""

from collections import Counter
from collections.abc import Sequence

from evalkit.records import Figure, SampleRecord, SuiteSummary, UnscoredCell
from evalkit.statistics.rows import cells_of, result_row, row_warnings, score_figure, scores_of, summary_row
from suites.mmlu.prompt import LETTERS
from suites.mmlu.questions import CHOICES
from suites.mmlu.settings import MmluSettings
from suites.mmlu.subjects import GROUPS, SUBJECTS

ACC = "acc"
CHANCE = 100 / CHOICES
ACC_NORM = "acc_norm"


def summarize(settings: MmluSettings, records: Sequence[SampleRecord]) -> SuiteSummary:
    """One row per subject; the mean is over questions (micro), the mean over subjects (macro) is a figure."""
    cells = cells_of(records)
    rows = tuple(result_row(subject, 0, cells[subject, 0], metric=ACC, chance=CHANCE) for subject in settings.subjects)
    scored = {subject: scores_of(cells[subject, 0]) for subject in settings.subjects}
    groups = {
        group: [score for subject in subjects for score in scored.get(subject, ())]
        for group, subjects in GROUPS.items()
    }
    whole = settings.samples is None and settings.subjects == SUBJECTS
    mean = summary_row(
        0,
        [[score for scores in scored.values() for score in scores]],
        complete=whole and not any(row.errors or row.unscored for row in rows),
        tasks=sum(row.value is not None for row in rows),
    )
    return SuiteSummary(
        results=rows,
        summary=(mean,),
        figures=(
            score_figure("macro", [scores for scores in scored.values() if scores]),
            *(score_figure("group", [scores], part=group) for group, scores in groups.items() if scores),
            *_normalized(settings, records),
            *_answers(settings, records),
        ),
        unscored=tuple(
            UnscoredCell(record.task, record.ctx, record.unscored) for record in records if record.unscored is not None
        ),
        warnings=row_warnings(rows),
    )


def _answers(settings: MmluSettings, records: Sequence[SampleRecord]) -> list[Figure]:
    """How often each letter was the answer, if letters are asked for: a model that cannot do the task prefers one."""
    if settings.variant != "mc":
        return []
    given = Counter(record.prediction for record in records if record.score is not None)
    return [Figure("answered", float(given[one]), "answers", n=given.total(), part=one) for one in LETTERS]


def _normalized(settings: MmluSettings, records: Sequence[SampleRecord]) -> list[Figure]:
    """Accuracy if each choice's log-probability is divided by its characters."""
    if settings.variant != "cloze":
        return []
    return [score_figure(ACC_NORM, [[record.measures[ACC_NORM] for record in records if record.score is not None]])]
