"""A policy to start from, written from a baseline's records."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from evalkit.analysis.costs import describe_hardware
from evalkit.analysis.gate_margins import LARGEST, FirstRule, tested
from evalkit.analysis.selectors import spelled
from evalkit.records import EFFECTIVE_LENGTH, RunRecord
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


def policy_template(records: Sequence[RunRecord], rules: Mapping[str, FirstRule]) -> str:
    """A commented YAML policy that the baseline's own `records` pass; rules that nothing can decide are comments."""
    lines = [line for record in records for line in _rules(record, rules)]
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


def _rules(record: RunRecord, rules: Mapping[str, FirstRule]) -> Iterator[str]:
    yield f"  # {one_line(record.suite)}: baseline {one_line(record.run_id)}, dialect {one_line(record.dialect)}"
    means = {spelled(record.suite, "", row.ctx): row.mean for row in record.summary}
    values = {spelled(record.suite, row.name, row.ctx): row.value for row in record.results}
    for selector in tested(record):
        yield from _drop(selector, means.get(selector) or values.get(selector), rules[selector])
    length = record.figure(EFFECTIVE_LENGTH)
    if length is not None and length.value:
        yield f"  {_key(f'{record.suite}/{length.label}')}: {{min: {length.value:.0f}}}"
    if record.summary and record.results:
        first = record.results[0]
        at = f"@{first.ctx}" if first.ctx else ""
        yield f"  # {_key(f'{record.suite}/{first.name}{at}')}: {{non_inferior: 2.0}}"


def _drop(selector: str, value: float | None, rule: FirstRule) -> Iterator[str]:
    """The rule on one drop, with what it decides."""
    baseline = f"baseline {value or 0.0:.4g}"
    if rule.limit is None:
        samples = f"; {rule.samples_needed:,} samples per task would decide" if rule.samples_needed else ""
        yield f"  # {_key(selector)}: {{max_drop: {LARGEST}}}"
        yield f"  #   {baseline}: too few samples to decide on any drop up to {LARGEST:g} points{samples}"
        return
    yield f"  {_key(selector)}: {{max_drop: {rule.limit:g}}}"
    fails = "fails with 80 % power"
    found = (
        f"a drop of {rule.detectable:.1f} {fails}" if rule.detectable else "what it detects is known only from a run"
    )
    yield f"  #   {baseline}; {found}"


def _costs(records: Sequence[RunRecord]) -> Iterator[str]:
    """Rules on times and memory as comments: they have no interval, and other hardware is an error."""
    ran_on = {describe_hardware(record) for record in records}
    hardware = one_line(" and ".join(sorted(name or "unknown hardware" for name in ran_on)))
    yield f"  # Only if every run is made on the baseline's hardware, which is {hardware}:"
    yield "  # prefill_seconds: {max_increase: 10%}"
    yield "  # decode_seconds: {max_increase: 10%}"
    yield "  # peak_memory: {max_increase: 5%}"


def _key(selector: str) -> str:
    """A selector as a YAML key, quoted if necessary."""
    plain = all(character.isalnum() or character in "@/_.-" for character in selector) and selector[:1].isalpha()
    return selector if plain else json.dumps(selector)
