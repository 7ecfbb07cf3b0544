"""Scores for a model's page on the Hugging Face hub: `.eval_results/*.yaml` and a section of the model card."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from evalkit.errors import UsageError
from evalkit.installation import library
from evalkit.records import RunRecord
from reports.exports.values import Value, description, values_of
from reports.markdown import escape, table_lines
from reports.numbers import decimals, measured
from reports.report import Table

DATASETS = {"mmlu": "cais/mmlu"}
"""Suite -> the benchmark's dataset on the hub; RULER's text is not in one, so its dataset has to be named."""
BEGIN, END = "<!-- evalkit:begin -->", "<!-- evalkit:end -->"
_SECTION = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def eval_results(record: RunRecord, dataset: str | None, source_url: str | None, *, tasks: bool) -> str:
    """The content of one `.eval_results/*.yaml`: the mean at each length, and each task with `tasks`.

    The ids of the hub's tasks are `<suite>_<length>` and `<task>_<length>`, without a length where there is none. The
    format is https://huggingface.co/docs/hub/eval-results. Raises UsageError if the suite's dataset is not known.
    """
    import yaml

    hub = library("huggingface_hub")
    name = dataset or DATASETS.get(record.suite)
    if name is None:
        raise UsageError(f"the hub files results of {record.suite} under a dataset; name it with --dataset ORG/NAME")
    entries = [_entry(hub, record, value, name, source_url) for value in _published(record, tasks=tasks)]
    return str(yaml.safe_dump(hub.eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True))


def _published(record: RunRecord, *, tasks: bool) -> Iterator[Value]:
    """Means, or the rows of a suite without means; all rows with `tasks`."""
    for value in values_of(record):
        is_mean = not value.task and value.label.partition("@")[0] == record.suite
        if is_mean or (value.task and (tasks or not record.summary)):
            yield value


def _entry(hub: Any, record: RunRecord, value: Value, dataset: str, source_url: str | None) -> Any:
    ctx = f"_{value.ctx}" if value.ctx else ""
    interval = "" if value.ci95 is None else f"95 % interval {value.ci95[0]:.1f} to {value.ci95[1]:.1f}; "
    return hub.EvalResultEntry(
        dataset_id=dataset,
        task_id=f"{value.task or record.suite}{ctx}",
        value=round(value.value, 4),
        date=next((session.ended_at for session in reversed(record.sessions) if session.ended_at), None),
        source_url=source_url,
        source_name="evalkit" if source_url else None,
        notes=f"{interval}n={value.n}; {description(record)}",
    )


def card_section(records: Sequence[RunRecord]) -> str:
    """A markdown section between markers, with a table of all means (or rows) and how each run was made."""
    rows = []
    for record in records:
        for value in _published(record, tasks=False):
            shown = measured(value.value, value.ci95, decimals(value.unit))
            length = f"{value.ctx:,}" if value.ctx else "-"
            name = record.suite if not value.task else f"{record.suite} {value.task}"
            rows.append((name, length, shown, value.unit, f"{value.n:,}"))
    table = Table("Evaluation", ("benchmark", "context", "score [95 % interval]", "unit", "samples"), tuple(rows))
    facts = [f"- {escape(record.suite)}: {escape(description(record))}" for record in records]
    return "\n".join([BEGIN, "## Evaluation", "", *table_lines(table), "", *facts, END])


def with_section(card: str, section: str) -> str:
    """The model card with this section in place of the one of before, or at its end; all else is kept."""
    if _SECTION.search(card):
        return _SECTION.sub(lambda _: section, card, count=1)
    return f"{card.rstrip()}\n\n{section}\n" if card.strip() else f"{section}\n"
