"""From sample records to accuracies by subject, by group and over all, with intervals."""

from collections.abc import Sequence

import numpy as np

from evalkit.records import Figure, ResultRow, SampleRecord, SuiteSummary, SummaryRow, UnscoredCell
from evalkit.statistics.intervals import CONFIDENCE, RESAMPLES, Interval, proportion_ci
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
    rows = tuple(_row(subject, here) for subject, here in by_subject.items())
    scored = {subject: _scores(here) for subject, here in by_subject.items()}
    groups = {
        group: [score for subject in subjects for score in scored.get(subject, ())]
        for group, subjects in GROUPS.items()
    }
    return SuiteSummary(
        results=rows,
        summary=(_mean(settings, rows, [score for scores in scored.values() for score in scores]),),
        effective_length=None,
        figures=(
            _macro([scores for scores in scored.values() if scores]),
            *(_figure(f"{GROUP}{group}", scores) for group, scores in groups.items() if scores),
            *_normalized(settings, records),
        ),
        unscored=tuple(
            UnscoredCell(record.task, record.ctx, record.unscored) for record in records if record.unscored is not None
        ),
    )


def macro_interval(rights: Sequence[int], counts: Sequence[int], *, seed: int) -> Interval:
    """Percentile bootstrap interval of the plain mean of proportions, in [0, 1].

    Answers are resampled within each subject: as they are right or wrong, that is a binomial draw.
    """
    n = np.asarray(counts)
    drawn = np.random.default_rng(seed).binomial(n, np.asarray(rights) / n, size=(RESAMPLES, len(n)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile((drawn / n).mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def _row(subject: str, records: Sequence[SampleRecord]) -> ResultRow:
    value, interval, n = _accuracy(_scores(records))
    return ResultRow(
        task=subject,
        ctx=0,
        metric=ACC,
        value=value,
        n=n,
        ci95=interval,
        errors=sum(record.error is not None for record in records),
        unscored=sum(record.unscored is not None for record in records),
        chance=CHANCE,
    )


def _mean(settings: MmluSettings, rows: Sequence[ResultRow], scores: Sequence[float]) -> SummaryRow:
    value, interval, _ = _accuracy(scores)
    whole = settings.samples is None and settings.subjects == SUBJECTS
    return SummaryRow(
        ctx=0,
        mean=value,
        ci95=interval,
        tasks=sum(row.value is not None for row in rows),
        complete=whole and not any(row.errors or row.unscored for row in rows),
        by_sample=True,
    )


def _macro(groups: Sequence[Sequence[float]]) -> Figure:
    counts = [len(group) for group in groups]
    rights = [round(sum(group)) for group in groups]
    value = 100 * sum(right / n for right, n in zip(rights, counts, strict=True)) / len(groups) if groups else None
    interval = macro_interval(rights, counts, seed=0) if groups else None
    return Figure(MACRO, value, "points", _in_points(interval), sum(counts))


def _normalized(settings: MmluSettings, records: Sequence[SampleRecord]) -> list[Figure]:
    """Accuracy where each choice's log-probability is divided by its characters."""
    if settings.variant != "cloze":
        return []
    return [_figure(ACC_NORM, [record.measures[ACC_NORM] for record in records if record.score is not None])]


def _figure(name: str, scores: Sequence[float]) -> Figure:
    value, interval, n = _accuracy(scores)
    return Figure(name, value, "points", interval, n)


def _accuracy(scores: Sequence[float]) -> tuple[float | None, Interval | None, int]:
    right, n = round(sum(scores)), len(scores)
    return 100 * right / n if n else None, _in_points(proportion_ci(right, n)), n


def _in_points(interval: Interval | None) -> Interval | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def _scores(records: Sequence[SampleRecord]) -> list[float]:
    return [record.score for record in records if record.score is not None]
