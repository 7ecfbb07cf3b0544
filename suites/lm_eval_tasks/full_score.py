"""The full score of a task's metric: 1, or 100 as for scrolls' `em`."""

from collections.abc import Iterator, Sequence
from typing import Any

from suites.lm_eval_tasks.documents import TaskDocuments
from suites.lm_eval_tasks.harness import output_type
from suites.lm_eval_tasks.numbers import is_number
from suites.lm_eval_tasks.responses import Response, judge

PROBED_DOCUMENTS = 16
_LIKELY, _UNLIKELY = 0.0, -1000.0


def full_score(task: Any, documents: TaskDocuments, metric: str) -> float | None:
    """1 or 100; None if it cannot be determined.

    lm-eval's own metrics are in [0, 1]. Others are computed for made-up answers to the first documents, among them the
    right ones.
    """
    if _is_lm_evals_own(task, metric):
        return 1.0
    values = list(_values_of_right_answers(task, documents, metric))
    largest = max(values, default=0.0)
    if min(values, default=0.0) < 0 or not 0 < largest <= 100:
        return None
    return 1.0 if largest <= 1 else 100.0


def _is_lm_evals_own(task: Any, metric: str) -> bool:
    from lm_eval.api.task import ConfigurableTask

    if type(task).process_results is not ConfigurableTask.process_results or callable(task.config.process_results):
        return False
    listed = task.get_config("metric_list") or ()
    return not any(
        callable(entry["metric"]) or entry.get("hf_evaluate") for entry in listed if metric in _names(entry["metric"])
    )


def _names(metric: Any) -> tuple[str, ...]:
    return (metric.__name__,) if callable(metric) else (str(metric),)


def _values_of_right_answers(task: Any, documents: TaskDocuments, metric: str) -> Iterator[float]:
    """Values of the metric that are numbers; exceptions of a task's own code are ignored."""
    for index in range(min(PROBED_DOCUMENTS, len(documents.docs))):
        for responses in _made_up(task, documents, index):
            try:
                values = judge(task, documents.docs[index], documents.judged_instances(index, responses))
            except Exception:  # noqa: BLE001  # the task's own code, given an answer that no model gave
                continue
            yield from (float(value) for (name, _), value in values.items() if name == metric and is_number(value))


def _made_up(task: Any, documents: TaskDocuments, index: int) -> Iterator[Sequence[Response]]:
    """Responses that make each choice the most likely in turn, or give each target as the answer."""
    if output_type(task) == "generate_until":
        target = task.doc_to_target(documents.docs[index])
        yield from ([str(text)] for text in (target if isinstance(target, list) else [target]))
        return
    count = len(documents.instances(index))
    for likely in range(count):
        yield [(_LIKELY if number == likely else _UNLIKELY - number, number == likely) for number in range(count)]
