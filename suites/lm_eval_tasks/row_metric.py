"""Choice of the task's metric for sample scores and rows."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.records import Score
from suites.lm_eval_tasks.documents import TaskDocuments
from suites.lm_eval_tasks.full_score import full_score
from suites.lm_eval_tasks.numbers import is_number

BITS_PER_BYTE = "bits_per_byte"
_BOUNDED = re.compile(r"acc(_\w+)?|\w+_acc|exact_match|em|f1|mc[12]|pass@\d+|contains\w*")
"""Metrics that are aggregated by the mean; others are shown as figures, as lm-eval aggregates them."""

Values = Mapping[tuple[str, str], Any]


@dataclass(frozen=True, slots=True)
class RowMetric:
    """A metric by which samples can be scored."""

    name: str
    full: float = 1.0
    """Score of a right answer in lm-eval: 1, or 100."""


def row_metric(task: Any, documents: TaskDocuments) -> RowMetric | None:
    """The first of the task's metrics that is a mean of scores of known scale; None if it has none."""
    from lm_eval.api.metrics import mean

    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return RowMetric(BITS_PER_BYTE)
    better = task.higher_is_better()
    for name, aggregate in task.aggregation().items():
        if aggregate is mean and better.get(name) and _BOUNDED.fullmatch(name):
            full = full_score(task, documents, name)
            if full is not None:
                return RowMetric(name, full)
    return None


def score_of(metric: RowMetric | None, values: Values) -> Score:
    """The score of one sample, of the first filter if there are several; None if it is outside the metric's scale."""
    if metric is not None:
        value: Any = next((value for (name, _), value in values.items() if name == metric.name), None)
        if is_number(value) and 0 <= value <= metric.full:
            return Score(float(value) / metric.full)
    return Score(None)


def rolling_score(nats: float, text: str) -> Score:
    """Bits per byte of a text; None if it is empty."""
    size = float(len(text.encode("utf-8", "surrogatepass")))
    if size == 0:
        return Score(None, measures={"nats": nats})
    return Score(nats / math.log(2) / size, measures={"nats": nats, "bytes": size})
