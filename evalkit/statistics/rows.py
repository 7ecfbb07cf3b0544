"""Rows, means and figures of a run, computed from its samples."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from evalkit.records import Figure, ResultRow, SampleRecord, SummaryRow
from evalkit.records.metrics import metric_of
from evalkit.statistics.bounded_mean import Array
from evalkit.statistics.intervals import CONFIDENCE, Interval, scaled
from evalkit.statistics.paired import fewest_changes
from evalkit.statistics.scores import MeanLoss, MeanScore

_FEWEST_WINDOWS = 10


def cells_of(records: Iterable[SampleRecord]) -> dict[tuple[str, int], list[SampleRecord]]:
    """Samples by task and context length; an empty list for a cell without any."""
    cells: dict[tuple[str, int], list[SampleRecord]] = defaultdict(list)
    for record in records:
        cells[record.task, record.ctx].append(record)
    return cells


def scores_of(records: Iterable[SampleRecord]) -> list[float]:
    """The scores of the samples that have one."""
    return [record.score for record in records if record.score is not None]


def depth_bin(depth: float, bins: int) -> int:
    """The bin of a needle's depth in [0, 1]; the last includes 1."""
    return min(max(int(depth * bins), 0), bins - 1)


def result_row(
    task: str,
    ctx: int,
    records: Sequence[SampleRecord],
    *,
    metric: str | None = None,
    chance: float | None = None,
    updates: int | None = None,
) -> ResultRow:
    """The row of one task and length; `metric` is by default that of the samples."""
    scored = [record for record in records if record.score is not None]
    named = next((record.metric for record in (*scored, *records) if record.metric), metric or "")
    return ResultRow(
        task=task,
        ctx=ctx,
        metric=metric or named,
        value=row_value(scored),
        n=len(scored),
        ci95=row_interval(scored),
        errors=sum(record.error is not None for record in records),
        unscored=sum(record.error is None and record.score is None for record in records),
        chance=chance,
        updates=updates,
    )


def row_interval(scored: Sequence[SampleRecord]) -> Interval | None:
    """The 95 % interval of a row's value, in the row's unit; None without scored samples, and for losses of one."""
    if not scored:
        return None
    metric = metric_of(scored[0].metric)
    values = [record.score for record in scored if record.score is not None]
    weights = sample_weights(scored)
    interval = MeanScore.of([values]).interval() if metric.bounded else MeanLoss.of(values, weights).interval()
    return scaled(interval, metric.scale)


def mean_of_tasks(groups: Iterable[Sequence[float] | Array]) -> tuple[float | None, Interval | None]:
    """The plain mean over tasks of their mean scores in [0, 1], as 0-100, with its 95 % interval.

    Tasks without a score are left out; (None, None) if none has one.
    """
    scored = [group for group in groups if len(group)]
    if not scored:
        return None, None
    mean = MeanScore.of(scored)
    return 100 * mean.mean, scaled(mean.interval(), 100)


def summary_row(ctx: int, groups: Iterable[Sequence[float]], *, complete: bool, tasks: int | None = None) -> SummaryRow:
    """The mean over groups of scores in [0, 1], each a task's; with `tasks`, they are one group of so many tasks."""
    scored = [group for group in groups if group]
    value, interval = mean_of_tasks(scored)
    return SummaryRow(ctx, value, interval, len(scored) if tasks is None else tasks, complete, tasks is not None)


def score_figure(name: str, groups: Sequence[Sequence[float]], **coordinates: Any) -> Figure:
    """A mean of scores in [0, 1] over tasks, or of one group, as a figure in points with `coordinates`."""
    value, interval = mean_of_tasks(groups)
    return Figure(name, value, "points", interval, sum(len(group) for group in groups), **coordinates)


def loss_figure(
    name: str, unit: str, numerators: Sequence[float], denominators: Sequence[float], **coordinates: Any
) -> Figure:
    """A ratio of sums over windows of text, such as nats per token, with Student's interval over the windows."""
    pairs = [(above, below) for above, below in zip(numerators, denominators, strict=True) if below > 0]
    if not pairs:
        return Figure(name, None, unit, **coordinates)
    loss = MeanLoss.of([above / below for above, below in pairs], [below for _, below in pairs])
    return Figure(name, loss.mean, unit, loss.interval(), loss.n, **coordinates)


def row_warnings(rows: Sequence[ResultRow]) -> tuple[str, ...]:
    """Warnings about rows of few samples, one line each."""
    scored = [row for row in rows if row.value is not None]
    losses = [row for row in scored if not metric_of(row.metric).bounded]
    scores = [row for row in scored if metric_of(row.metric).bounded]
    needed = fewest_changes(CONFIDENCE)
    few_scores = sum(row.n < needed for row in scores)
    few_windows = sum(row.n < _FEWEST_WINDOWS for row in losses)
    warnings = []
    if few_scores:
        warnings.append(
            f"fewer than {needed} samples in {few_scores} of {len(scores)} rows: these rows alone cannot show a "
            "difference from another run"
        )
    if few_windows:
        warnings.append(
            f"fewer than {_FEWEST_WINDOWS} windows in {few_windows} of {len(losses)} rows of losses: their intervals "
            "are too narrow if losses are lopsided"
        )
    return tuple(warnings)


def row_value(samples: Sequence[SampleRecord]) -> float | None:
    """The value of a row over its scored samples, in the row's unit; None without any."""
    if not samples:
        return None
    metric = metric_of(samples[0].metric)
    values = np.array([sample.score for sample in samples], dtype=np.float64)
    return metric.scale * weighted_mean(values, sample_weights(samples))


def sample_weights(samples: Sequence[SampleRecord]) -> Array:
    """Weight of each sample in its row's value, adding up to 1: equal, or by a measure such as its bytes."""
    weight = metric_of(samples[0].metric).weight if samples else None
    raw = np.array([1.0 if weight is None else sample.measures.get(weight, 0.0) for sample in samples])
    total = float(raw.sum())
    return raw / total if total > 0 else raw


def weighted_mean(values: Array, weights: Array) -> float:
    """Their weighted sum, exact in any order of summation: 442 of 500 right answers are 0.884."""
    return round(math.fsum(weights * values), 12)
