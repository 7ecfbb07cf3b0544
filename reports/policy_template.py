"""A policy to start from, written from what a baseline has."""

import json
import math
from collections.abc import Iterator, Sequence

from evalkit.analysis.costs import describe_hardware
from evalkit.records import RunRecord, SummaryRow
from evalkit.records.metrics import metric_of
from evalkit.statistics.intervals import CONFIDENCE
from evalkit.statistics.paired import detectable_sigmas
from reports.plain_text import one_line

# A guess that the comment names: how many answers two checkpoints of one training run give differently.
_CHANGED_SHARE = 0.1

_HEAD = """\
# What a new run must hold against the baseline: evalkit gate BASE NEW --policy FILE
#
# A selector is suite[/task][@length]; * stands for any part of a task's name, and a suite alone for the mean over its
# tasks. Drops are in points of 100 (of losses: in their unit), judged by the two-sided interval at `confidence`:
#   max_drop: m        fails if the drop is surely above m, passes if it is surely at most m, else it is undecided
#   non_inferior: m    fails unless the drop is surely at most m
#   min: v             fails if the new value is below v
#   max_increase: 5%   of prefill_seconds, decode_seconds and peak_memory; needs the same hardware
# A row that is missing or has errored samples in the new run fails.

confidence: 0.95
undecided: pass  # or fail; a rule may set its own confidence and undecided

rules:
"""


def policy_template(records: Sequence[RunRecord]) -> str:
    """A commented YAML policy that `records` themselves pass."""
    lines = [line for record in records for line in _rules(record)]
    costs = list(_costs(records))
    return _HEAD + "\n".join([*lines, *costs]) + "\n"


def _rules(record: RunRecord) -> Iterator[str]:
    yield f"  # {one_line(record.suite)}: baseline {one_line(record.run_id)}, dialect {one_line(record.dialect)}"
    for row in record.summary:
        if row.mean is not None:
            yield f"  {_key(f'{record.suite}@{row.ctx}' if row.ctx else record.suite)}: {{max_drop: 1.0}}"
            yield f"  # baseline {row.mean:.1f}{_detectable(record, row)}"
    if not record.summary:
        for result in record.results:
            if result.value is not None:
                margin = 1.0 if metric_of(result.metric).higher_is_better else 0.01
                selector = f"{record.suite}/{result.task}" + (f"@{result.ctx}" if result.ctx else "")
                yield f"  {_key(selector)}: {{max_drop: {margin}}}  # baseline {result.value:.4g}"
    if record.effective_length is not None:
        yield f"  {_key(f'{record.suite}/effective_length')}: {{min: {record.effective_length}}}"
    if record.summary and record.results:
        first = record.results[0]
        at = f"@{first.ctx}" if first.ctx else ""
        yield f"  # {_key(f'{record.suite}/{first.task}{at}')}: {{non_inferior: 2.0}}"


def _detectable(record: RunRecord, row: SummaryRow) -> str:
    pairs = sum(result.n for result in record.results if result.ctx == row.ctx)
    if not pairs:
        return ""
    points = 100 * detectable_sigmas(CONFIDENCE) * math.sqrt(_CHANGED_SHARE / pairs)
    return (
        f"; {pairs:,} samples: if one answer in ten changes, a drop of {points:.1f} is told from none with a power of "
        "80 %"
    )


def _costs(records: Sequence[RunRecord]) -> Iterator[str]:
    ran_on = {describe_hardware(record) for record in records}
    measured = any(record.memory.get("peak_bytes") for record in records)
    comment = "" if len(ran_on) == 1 and "" not in ran_on else "# "
    yield f"  # {one_line(' and '.join(sorted(name or 'unknown hardware' for name in ran_on)))}"
    yield f"  {comment}prefill_seconds: {{max_increase: 10%}}"
    yield f"  {comment}decode_seconds: {{max_increase: 10%}}"
    yield f"  {comment if measured else '# '}peak_memory: {{max_increase: 5%}}"


def _key(selector: str) -> str:
    """A selector as a YAML key, in quotes where it needs them."""
    plain = all(character.isalnum() or character in "@/_.-" for character in selector) and selector[:1].isalpha()
    return selector if plain else json.dumps(selector)
