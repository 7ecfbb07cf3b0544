"""Rows, and every number that lm-eval itself would report, computed from the samples."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.records import Figure, ResultRow, SampleRecord, SuiteSummary, UnscoredCell
from evalkit.statistics.intervals import Interval
from evalkit.statistics.rows import result_row, row_warnings
from evalkit.statistics.scores import MeanScore
from suites.lm_eval_tasks.documents import TaskDocuments
from suites.lm_eval_tasks.harness import LoadedTasks, output_type
from suites.lm_eval_tasks.numbers import is_number
from suites.lm_eval_tasks.responses import judge, stored_responses
from suites.lm_eval_tasks.row_metric import BITS_PER_BYTE, RowMetric

UNIT = "lm-eval"
_NO_FILTER = "none"


def summarize(
    loaded: LoadedTasks,
    documents: Mapping[str, TaskDocuments],
    metrics: Mapping[str, RowMetric | None],
    records: Sequence[SampleRecord],
) -> SuiteSummary:
    """One row per task, by one metric; all metrics of tasks and groups, as lm-eval aggregates them, as figures."""
    by_task = {name: [record for record in records if record.task == name] for name in loaded.tasks}
    rows = tuple(_row(name, task, documents[name], metrics[name], by_task[name]) for name, task in loaded.tasks.items())
    collected = {name: _collect(task, documents[name], by_task[name]) for name, task in loaded.tasks.items()}
    aggregates = {name: _aggregate(task, collected[name]) for name, task in loaded.tasks.items()}
    figures = [
        Figure(
            task,
            value,
            UNIT,
            _interval(collected[task][metric, name]),
            len(collected[task][metric, name]),
            metric=metric,
            filter=_filter(name),
        )
        for task, values in aggregates.items()
        for (metric, name), value in values.items()
    ]
    return SuiteSummary(
        results=rows,
        figures=(*figures, *_group_figures(loaded, aggregates, collected)),
        unscored=(
            *(UnscoredCell(record.task, record.ctx, record.unscored) for record in records if record.unscored),
            *(cell for name, task in loaded.tasks.items() for cell in _not_in_row(name, task, metrics, by_task[name])),
        ),
        warnings=row_warnings(rows),
    )


def _not_in_row(
    name: str, task: Any, metrics: Mapping[str, RowMetric | None], records: Sequence[SampleRecord]
) -> Iterator[UnscoredCell]:
    """Why answered documents are not in the row."""
    answered = [record for record in records if record.error is None and record.unscored is None]
    left_out = sum(record.score is None for record in answered)
    metric = metrics[name]
    if metric is None and answered:
        listed = ", ".join(task.aggregation())
        yield UnscoredCell(
            name, 0, f"none of its metrics ({listed}) is a mean of scores of known scale; see the figures"
        )
    elif metric is not None and left_out:
        outside = f"{metric.name} outside 0-{metric.full:g}" if metric.name != BITS_PER_BYTE else "no text"
        yield UnscoredCell(
            name,
            0,
            f"{left_out:,} of {len(answered):,} documents have {outside} and are not in the row; see the figures",
        )


Key = tuple[str, str]
"""Metric and filter."""


def _collect(task: Any, documents: TaskDocuments, records: Sequence[SampleRecord]) -> dict[Key, list[Any]]:
    """The metrics of all answered documents, in their order."""
    collected: dict[Key, list[Any]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.index):
        if record.error is not None or record.unscored is not None:
            continue
        responses = stored_responses(output_type(task), record)
        instances = documents.judged_instances(record.index, responses)
        for key, value in judge(task, documents.docs[record.index], instances).items():
            collected[key].append(value)
    return dict(collected)


def _aggregate(task: Any, collected: Mapping[Key, Sequence[Any]]) -> dict[Key, float | None]:
    """The task's own aggregation of each metric, or the mean if it has none, as in lm-eval."""
    from lm_eval.api.metrics import mean

    return {key: _finite(task.aggregation().get(key[0], mean)(list(values))) for key, values in collected.items()}


def _group_figures(
    loaded: LoadedTasks,
    aggregates: Mapping[str, Mapping[Key, float | None]],
    collected: Mapping[str, Mapping[Key, Sequence[Any]]],
) -> list[Figure]:
    """Groups, aggregated from their tasks by their own rules."""
    reported = {
        task: {
            "sample_len": max((len(values) for values in collected[task].values()), default=0),
            **{f"{metric},{name}": value for (metric, name), value in values.items() if value is not None},
        }
        for task, values in aggregates.items()
    }
    figures = []
    for group in loaded.groups.values():
        found = group.aggregate(reported)
        for key, value in found.items():
            metric, comma, name = key.partition(",")
            if comma and not metric.endswith("_stderr"):
                figures.append(
                    Figure(
                        "group",
                        _finite(value),
                        UNIT,
                        n=int(found.get("sample_len", 0)),
                        part=group.name,
                        metric=metric,
                        filter=_filter(name),
                    )
                )
    return figures


def _filter(name: str) -> str:
    return "" if name == _NO_FILTER else name


def _row(
    name: str, task: Any, documents: TaskDocuments, metric: RowMetric | None, records: Sequence[SampleRecord]
) -> ResultRow:
    scored = [record for record in records if record.score is not None]
    name_of_metric = "none" if metric is None else metric.name
    return result_row(name, 0, records, metric=name_of_metric, chance=_chance(task, documents, scored))


def _interval(values: Sequence[Any]) -> Interval | None:
    """Interval of a mean of numbers in [0, 1]; None for metrics of another scale or with other values."""
    if not values or not all(is_number(value) and 0 <= value <= 1 for value in values):
        return None
    return MeanScore.of([[float(value) for value in values]]).interval()


def _chance(task: Any, documents: TaskDocuments, scored: Sequence[SampleRecord]) -> float | None:
    """Score of guessing among the listed choices, 0-100, averaged over the documents."""
    if output_type(task) != "multiple_choice" or not scored or task.get_config("doc_to_choice") is None:
        return None
    docs = [documents.docs[record.index] for record in scored]
    shares = []
    for record, doc in zip(scored, docs, strict=True):
        right = len(record.targets) if getattr(task, "multiple_target", 0) else 1
        shares.append(right / len(task.doc_to_choice(doc)))
    return 100 * math.fsum(shares) / len(shares)


def _finite(value: Any) -> float | None:
    """A finite number; None if the metric is undefined."""
    return float(value) if is_number(value) and math.isfinite(value) else None
