"""Limits for a first policy: the drops that a baseline's number of samples can tell apart from chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.gate_explain import CHANGED, explain, power
from evalkit.analysis.policy import Check, Policy
from evalkit.analysis.selectors import Selector, spelled
from evalkit.records import RunRecord
from evalkit.records.metrics import metric_of
from evalkit.statistics.intervals import CONFIDENCE
from evalkit.statistics.paired import POWER

SMALLEST, LARGEST = 1.0, 20.0
"""Points: no smaller limit is proposed, and a test that needs a larger one decides nothing of use."""
LOSS_LIMIT = 0.01


@dataclass(frozen=True, slots=True)
class FirstRule:
    """A proposed `max_drop`, which a run without a drop passes as decided with a probability of 80 %."""

    limit: float | None
    """None if these samples decide no limit up to 20 points."""
    detectable: float | None
    """The true drop that then fails with a probability of 80 %; None if it is unknown, as for losses."""
    samples_needed: int | None = None
    """Samples per task and length with which a limit of up to 20 points is proposed, if these do not suffice."""


def tested(record: RunRecord) -> list[str]:
    """Selectors of the means, or of all rows of a suite without means."""
    if record.summary:
        return [spelled(record.suite, "", row.ctx) for row in record.summary if row.mean is not None]
    return [spelled(record.suite, row.name, row.ctx) for row in record.results if row.value is not None]


def first_rules(runs: Sequence[StoredRun]) -> dict[str, FirstRule]:
    """A rule for each selector of `tested`, if the policy tests all of them."""
    losses = {
        spelled(run.record.suite, row.name, row.ctx)
        for run in runs
        for row in run.record.results
        if not metric_of(row.metric).bounded
    }
    selectors = [selector for run in runs for selector in tested(run.record)]
    scores = [selector for selector in selectors if selector not in losses]
    seen = _detectable(runs, dict.fromkeys(scores, 0.0))
    limits = {selector: _limit(seen[selector][0]) for selector in scores}
    decided = _detectable(runs, {selector: limit for selector, limit in limits.items() if limit is not None})
    needed = _samples_needed(runs, limits)
    rules = {selector: FirstRule(LOSS_LIMIT, None) for selector in losses}
    for selector, limit in limits.items():
        if limit is None:
            rules[selector] = FirstRule(None, None, needed.get(selector))
        else:
            rules[selector] = FirstRule(limit, decided[selector][0])
    return rules


def _limit(detectable: float | None) -> float | None:
    """The smallest drop that is told from none, rounded up to a tenth of a point."""
    if detectable is None or detectable > LARGEST:
        return None
    return max(SMALLEST, math.ceil(10 * detectable - 1e-9) / 10)


def _samples_needed(runs: Sequence[StoredRun], limits: Mapping[str, float | None]) -> dict[str, int]:
    """The smallest number of samples per task and length with which a selector without a limit gets one, if found.

    It is a little above the number that passes an equal run as decided at the largest limit.
    """
    without = {selector: LARGEST for selector, limit in limits.items() if limit is None}
    starts = {selector: needed for selector, (_, needed) in _detectable(runs, without).items() if needed is not None}
    policy, found = _policy(dict.fromkeys(limits, 0.0)), dict[str, int]()
    for start in sorted(set(starts.values())):
        missing = {selector for selector in starts if starts[selector] == start}
        for samples in range(start, 3 * start):
            chances = power(policy, runs, LARGEST, samples=samples, changed=CHANGED)
            reached = {selector for selector in missing if chances[selector] >= POWER}
            found |= dict.fromkeys(reached, samples)
            missing -= reached
            if not missing:
                break
    return found


def _detectable(runs: Sequence[StoredRun], limits: Mapping[str, float]) -> dict[str, tuple[float | None, int | None]]:
    """For each selector the smallest drop that fails at its limit, and the samples needed to pass as decided."""
    if not limits:
        return {}
    explained = explain(_policy(limits), runs, [], samples=None, changed=CHANGED, suites={})
    return {check.rule: (check.detectable, check.samples_needed) for check in explained.checks}


def _policy(limits: Mapping[str, float]) -> Policy:
    checks = tuple(
        Check(Selector.parse(selector), "max_drop", limit, CONFIDENCE, undecided_passes=True)
        for selector, limit in limits.items()
    )
    return Policy(path="", checks=checks)
