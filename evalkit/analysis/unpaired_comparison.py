"""Comparison of two runs with different questions, as two independent samples of questions."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from evalkit.analysis.comparison import (
    ComparedRun,
    Comparison,
    RowComparison,
    RowTest,
    compare_figures,
    corrected,
    figure_notes,
    has_mean,
    unfinished_notes,
)
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.pairing import unlike_things
from evalkit.errors import IncompatibleRunError
from evalkit.records import SampleRecord
from evalkit.records.metrics import metric_of
from evalkit.statistics.intervals import CONFIDENCE
from evalkit.statistics.paired import Array
from evalkit.statistics.rows import sample_weights, weighted_mean
from evalkit.statistics.scores import MeanLoss, MeanScore
from evalkit.statistics.unpaired import detectable_unpaired, difference_interval, difference_p, welch

Samples = Sequence[SampleRecord]


def compare_unpaired(base: StoredRun, new: StoredRun) -> Comparison:
    """Compare rows of the same name as if their questions had been drawn independently.

    Rows of one name with two metrics are left out by name. Raises IncompatibleRunError for runs of two suites, or
    without a row in common.
    """
    if base.record.suite != new.record.suite:
        raise IncompatibleRunError(
            f"{base.folder} is a run of {base.record.suite} and {new.folder} one of {new.record.suite}; "
            "nothing in them can be compared"
        )
    ctxs = sorted({row.ctx for row in base.record.results})
    rows = corrected([row for ctx in ctxs for row in compare_rows_unpaired(base, new, ctx)])
    unlike = list(_unlike_metrics(base, new))
    if not rows:
        reason = f" with one metric: {'; '.join(unlike)}" if unlike else ""
        raise IncompatibleRunError(f"{base.folder} and {new.folder} have no scored task and length in common{reason}")
    return Comparison(
        suite=base.record.suite,
        dialect=" / ".join(dict.fromkeys((base.record.dialect, new.record.dialect))),
        base=ComparedRun.of(base),
        new=ComparedRun.of(new),
        paired=False,
        confidence=CONFIDENCE,
        rows=rows,
        flips=(),
        costs=(),
        figures=compare_figures(base.record, new.record),
        notes=(*_notes(base, new), *(f"Left out, also of the mean: {row}." for row in unlike)),
    )


def _notes(base: StoredRun, new: StoredRun) -> Iterator[str]:
    yield (
        "UNPAIRED: the runs are compared as if their questions had been drawn independently. Intervals are wider, and "
        "a difference may come from the questions."
    )
    yield from unfinished_notes(base.record, new.record)
    yield from figure_notes(base.record, new.record)
    for thing in unlike_things(base.record, new.record):
        yield f"Different: {thing}."


def compare_rows_unpaired(base: StoredRun, new: StoredRun, ctx: int) -> Iterator[RowComparison]:
    """The rows that both runs have at one context length and the mean over them, before any correction."""
    tasks = _shared(base, new, ctx)
    for task, sides in tasks.items():
        yield _row(task, ctx, [sides[0]], [sides[1]])
    if len(tasks) > 1 and (mean := compare_mean_unpaired(base, new, ctx)) is not None:
        yield mean


def compare_mean_unpaired(base: StoredRun, new: StoredRun, ctx: int) -> RowComparison | None:
    """The mean over the tasks that both have at one length; None if a suite reports none, or none is shared."""
    tasks = _shared(base, new, ctx)
    if not tasks or not has_mean(base.record, ctx) or not has_mean(new.record, ctx):
        return None
    sides: tuple[list[Samples], list[Samples]] = (
        [one for one, _ in tasks.values()],
        [two for _, two in tasks.values()],
    )
    if any(row.by_sample and row.ctx == ctx for row in base.record.summary):
        sides = ([list(chain(*sides[0]))], [list(chain(*sides[1]))])
    return _row(None, ctx, *sides)


def compare_task_unpaired(base: StoredRun, new: StoredRun, task: str, ctx: int) -> RowComparison | None:
    """One task at one length; None if one run has no score of it, or another metric."""
    sides = _shared(base, new, ctx).get(task)
    return None if sides is None else _row(task, ctx, [sides[0]], [sides[1]])


def _shared(base: StoredRun, new: StoredRun, ctx: int) -> dict[str, tuple[Samples, Samples]]:
    """The scored samples of both runs by task, of the tasks that both have at `ctx` in one metric."""
    sides = {cell[0]: pair for cell, pair in _in_both(base, new).items() if cell[1] == ctx}
    return {task: (left, right) for task, (left, right) in sides.items() if left[0].metric == right[0].metric}


def _unlike_metrics(base: StoredRun, new: StoredRun) -> Iterator[str]:
    """Rows of one name that are measured differently."""
    for (task, ctx), (left, right) in _in_both(base, new).items():
        if left[0].metric != right[0].metric:
            yield f"{task} at {ctx} is measured by {left[0].metric} in BASE and by {right[0].metric} in NEW"


def _in_both(base: StoredRun, new: StoredRun) -> dict[tuple[str, int], tuple[Samples, Samples]]:
    of_base, of_new = _scored(base), _scored(new)
    return {cell: (of_base[cell], of_new[cell]) for cell in of_base if cell in of_new}


def _scored(run: StoredRun) -> dict[tuple[str, int], Samples]:
    cells = {cell: [s for s in samples if s.score is not None] for cell, samples in run.cells().items()}
    ordered = [row.cell for row in run.record.results]
    return {cell: cells[cell] for cell in ordered if cells.get(cell)}


def _row(task: str | None, ctx: int, base: Sequence[Samples], new: Sequence[Samples]) -> RowComparison:
    metric = metric_of(base[0][0].metric)
    left, right = (
        float(np.mean([weighted_mean(_values(group), sample_weights(group)) for group in side])) for side in (base, new)
    )
    test = _test(base, new, bounded=metric.bounded)
    n = min(sum(len(group) for group in side) for side in (base, new))
    return RowComparison.of((task, ctx), metric, (left, right), test, n=n)


def _test(base: Sequence[Samples], new: Sequence[Samples], *, bounded: bool) -> RowTest:
    """The test of a row; each value is None if there are too few samples."""
    if bounded:
        scores = [MeanScore.of([_values(group) for group in side]) for side in (base, new)]
        return (
            difference_interval(scores[0], scores[1]),
            difference_p(scores[0], scores[1]),
            detectable_unpaired(scores[0], scores[1]),
        )
    losses = [MeanLoss.of(_values(side[0]), sample_weights(side[0])) for side in (base, new)]
    return welch(losses[0], losses[1]) or (None, None, None)


def _values(samples: Samples) -> Array:
    return np.array([sample.score for sample in samples], dtype=np.float64)
