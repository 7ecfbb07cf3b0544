"""Which of a task's metrics becomes the score of a sample and the value of a row."""

import math
import re
from collections.abc import Mapping
from typing import Any

from evalkit.records import Score

BITS_PER_BYTE = "bits_per_byte"
_BOUNDED = re.compile(r"acc(_\w+)?|\w+_acc|exact_match|em|f1|mc[12]|pass@\d+|contains\w*")
"""Metrics in [0, 1] whose aggregate is the mean: the others are shown beside the rows, as lm-eval aggregates them."""

Values = Mapping[tuple[str, str], Any]


def row_metric(task: Any) -> str | None:
    """The first of the task's metrics that a sample can be scored by; None where it has none."""
    from lm_eval.api.metrics import mean

    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return BITS_PER_BYTE
    better = task.higher_is_better()
    for name, aggregate in task.aggregation().items():
        if aggregate is mean and better.get(name) and _BOUNDED.fullmatch(name):
            return str(name)
    return None


def score_of(metric: str | None, values: Values, measures: dict[str, float], text: str | None) -> Score:
    """The score of one sample; the first filter's where there are several.

    `text` is what a rolling log-likelihood is of.
    """
    if metric == BITS_PER_BYTE:
        nats, size = -measures["log_probability_0"], float(len((text or "").encode("utf-8", "surrogatepass")))
        if size == 0:
            return Score(BITS_PER_BYTE, None, measures=measures)
        return Score(BITS_PER_BYTE, nats / math.log(2) / size, measures={**measures, "nats": nats, "bytes": size})
    value: Any = next((value for (name, _), value in values.items() if name == metric), None)
    if metric is None or not is_number(value) or not 0 <= value <= 1:
        return Score(metric or next(iter(values), ("none", ""))[0], None, measures=measures)
    return Score(metric, float(value), measures=measures)


def is_number(value: Any) -> bool:
    """Whether a metric of one document is a number (numpy's too), and not a pair or a list to aggregate."""
    import numpy as np

    return isinstance(value, bool | int | float | np.bool_ | np.number)
