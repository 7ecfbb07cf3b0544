"""Responses in lm-eval's form, kept in sample records so that metrics can be computed again."""

import math
from collections.abc import Sequence
from typing import Any

from evalkit.records import Completion, SampleRecord

Response = tuple[float, bool] | float | str
"""(nats, is_greedy) of a continuation, nats of a rolling text, or a generated text."""


def responses_of(output_type: str, completion: Completion) -> list[Response]:
    """One response per instance of a document, from its joined completion."""
    if output_type == "generate_until":
        return [completion.text]
    if output_type == "loglikelihood_rolling":
        return [math.fsum(completion.log_probabilities or ())]
    return [(score.log_probability, score.is_greedy) for score in completion.continuations or ()]


def stored_responses(output_type: str, record: SampleRecord) -> list[Response]:
    """The responses of a sample record, with the same numbers as before."""
    if output_type == "generate_until":
        return [record.prediction]
    if output_type == "loglikelihood_rolling":
        return [-record.measures["nats"]]
    return [(score.log_probability, score.is_greedy) for score in record.continuations]


def judge(task: Any, doc: Any, instances: Sequence[Any]) -> dict[tuple[str, str], Any]:
    """lm-eval's metrics of one document: (metric, filter) -> whatever the task's aggregation takes."""
    # `apply_filters` works on the task's own instances, and there is no public way to pass others.
    task._instances = list(instances)
    task.apply_filters()
    values = {}
    for name in instances[0].filtered_resps:
        metrics = task.process_results(doc, [instance.filtered_resps[name] for instance in instances])
        values.update({(metric, name): value for metric, value in metrics.items()})
    return values
