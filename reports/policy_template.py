"""A policy to start from, written from a baseline's records."""

import json
import math
from collections.abc import Iterator, Sequence

from evalkit.analysis.costs import describe_hardware, hardware_difference
from evalkit.records import EFFECTIVE_LENGTH, ResultRow, RunRecord, SummaryRow
from evalkit.records.metrics import metric_of
from reports.plain_text import one_line

_HEAD = """\
# Rules for a new run, compared with its baseline: evalkit gate BASE NEW --policy FILE
#
# A selector is suite[/task][@length]; * matches any part of a task's name, and a suite alone is its mean over tasks.
# Drops are in points of 100 (for losses in their unit), tested on paired samples:
#   max_drop: m        fails if the whole interval is above m, passes if it is at or below m, otherwise undecided
#   non_inferior: m    fails unless the whole interval is at or below m
#   min: v             fails if the new value is below v
#   max_increase: 5%   for prefill_seconds, decode_seconds and peak_memory; needs the same hardware
# A rule may set its own confidence, undecided and max_unscored, and a tier:
#   critical (default) a failed check fails the gate
#   supporting         the gate fails if more supporting checks fail than `supporting_failures: N` of the policy allows
#   advisory           reported, never fails the gate
# Results that are missing, errored or unscored in the new run fail. A run of less than a whole suite needs
#   expect: {ruler: {tasks: [vt, cwe], samples: 20}}
# For the drop that each rule detects with N samples: evalkit gate BASE --explain FILE --samples N

error_rate: 5%    # probability that any max_drop test fails by chance, all of them together
confidence: 0.95  # of the interval of each test
undecided: pass   # or fail
"""


def policy_template(records: Sequence[RunRecord]) -> str:
    """A commented YAML policy that the baseline's own `records` pass."""
    lines = [line for record in records for line in _rules(record)]
    costs = list(_costs(records))
    return _HEAD + _max_unscored(records) + "\nrules:\n" + "\n".join([*lines, *costs]) + "\n"


def _max_unscored(records: Sequence[RunRecord]) -> str:
    """The largest share of samples without a score in a row of the baseline."""
    rows = [row for record in records for row in record.results if row.n]
    share = max(((row.errors + row.unscored) / (row.n + row.errors + row.unscored) for row in rows), default=0.0)
    if not share:
        return "max_unscored: 0%  # share of a row's samples that may have no score\n"
    percent = math.ceil(1000 * share) / 10
    return f"max_unscored: {percent:g}%  # some of the baseline's samples errored or are unscored\n"


def _tested(record: RunRecord) -> Iterator[SummaryRow | ResultRow]:
    """Rows that get a rule on their drop: the means, or all rows of a suite without means."""
    yield from (row for row in record.summary if row.mean is not None)
    if not record.summary:
        yield from (row for row in record.results if row.value is not None)


def _rules(record: RunRecord) -> Iterator[str]:
    yield f"  # {one_line(record.suite)}: baseline {one_line(record.run_id)}, dialect {one_line(record.dialect)}"
    for row in _tested(record):
        at = f"@{row.ctx}" if row.ctx else ""
        if isinstance(row, SummaryRow):
            yield f"  {_key(f'{record.suite}{at}')}: {{max_drop: 1.0}}"
            samples = sum(result.n for result in record.results if result.ctx == row.ctx)
            yield f"  # baseline {row.mean:.1f} from {samples:,} samples"
        else:
            margin = 1.0 if metric_of(row.metric).higher_is_better else 0.01
            yield f"  {_key(f'{record.suite}/{row.name}{at}')}: {{max_drop: {margin}}}  # baseline {row.value:.4g}"
    length = record.figure(EFFECTIVE_LENGTH)
    if length is not None and length.value:
        yield f"  {_key(f'{record.suite}/{length.label}')}: {{min: {length.value:.0f}}}"
    if record.summary and record.results:
        first = record.results[0]
        at = f"@{first.ctx}" if first.ctx else ""
        yield f"  # {_key(f'{record.suite}/{first.name}{at}')}: {{non_inferior: 2.0}}"


def _costs(records: Sequence[RunRecord]) -> Iterator[str]:
    ran_on = {describe_hardware(record) for record in records}
    measured = any(record.memory.peak_bytes for record in records)
    comparable = all(hardware_difference(records[0], record) is None for record in records)
    comment = "" if comparable else "# "
    yield f"  # {one_line(' and '.join(sorted(name or 'unknown hardware' for name in ran_on)))}"
    yield f"  {comment}prefill_seconds: {{max_increase: 10%}}"
    yield f"  {comment}decode_seconds: {{max_increase: 10%}}"
    yield f"  {comment if measured else '# '}peak_memory: {{max_increase: 5%}}"


def _key(selector: str) -> str:
    """A selector as a YAML key, quoted if necessary."""
    plain = all(character.isalnum() or character in "@/_.-" for character in selector) and selector[:1].isalpha()
    return selector if plain else json.dumps(selector)
