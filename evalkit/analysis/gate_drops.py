"""Drops: `max_drop` and `non_inferior` test the paired difference of NEW and BASE."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.analysis.finished_run import Cell
from evalkit.analysis.gate_completeness import Part, cells_behind, parts_of, rows_by_cell, shortfall, unscored_reasons
from evalkit.analysis.gate_targets import Target
from evalkit.analysis.gate_verdict import ROUNDING, GateVerdict, beside, incomplete
from evalkit.analysis.pairing import PairedRow, Pairing
from evalkit.analysis.policy import Check, Expectation
from evalkit.errors import UsageError
from evalkit.records import Outcome
from evalkit.records.metrics import Metric
from evalkit.statistics.family import Decision, OneSidedTest, holm_decisions
from evalkit.statistics.intervals import Interval, scaled
from evalkit.statistics.paired import PairedDifferences
from evalkit.statistics.rows import weighted_mean


@dataclass(frozen=True, slots=True)
class DropTest:
    """A check of a drop, with the pairs that decide it."""

    check: Check
    target: Target
    metric: Metric
    pairs: PairedDifferences
    """Paired drops, in the unit of the scores: BASE - NEW, for losses NEW - BASE."""
    certain: bool
    """True for two runs of one model with equal answers, whose difference is known to be zero."""
    base: float
    new: float
    """Values of BASE and NEW over the pairs, in the row's unit."""
    of_base: int
    """Samples that BASE scored."""
    tasks: int
    """The rows of the pairs."""

    @property
    def drop(self) -> float:
        return self.base - self.new if self.metric.higher_is_better else self.new - self.base

    @property
    def n(self) -> int:
        return len(self.pairs.differences)

    def interval(self, level: float) -> Interval | None:
        """Interval of the drop with a one-sided error of `level` at each end, in the row's unit."""
        if self.certain:
            return 0.0, 0.0
        return scaled(self.pairs.interval(1 - 2 * level), self.metric.scale)

    def lower_bound(self, level: float) -> float | None:
        interval = self.interval(level)
        return None if interval is None else interval[0]


def prepare_drop(pairing: Pairing, check: Check, target: Target, expectation: Expectation) -> DropTest | GateVerdict:
    """The test of a drop, or a failed verdict if NEW lacks what BASE has.

    Raises UsageError if BASE itself is not complete.
    """
    refuse_untestable(check, target)
    rows = rows_behind(pairing, check, target, expectation)
    if isinstance(rows, str):
        return incomplete(check, target, rows)
    in_order = sorted(rows, key=lambda row: row.task)
    return _test(pairing, in_order, check, target)


def refuse_untestable(check: Check, target: Target) -> None:
    """Raise UsageError for a figure, which is not the mean of samples."""
    if target.role not in ("row", "mean"):
        raise UsageError(
            f"rule {check.selector.text!r}: {target.label} is not a mean of samples, so {check.kind} cannot be "
            "tested; use min"
        )


def rows_behind(
    pairing: Pairing, check: Check, target: Target, expectation: Expectation
) -> tuple[PairedRow, ...] | str:
    """The paired rows that a relative check needs, or why NEW does not have all of them.

    NEW needs every row and sample of BASE, or those that the policy expects. Raises UsageError if BASE has no score
    there, or is not complete itself.
    """
    base, new = pairing.base.record, pairing.new.record
    # Rows that only NEW has are not compared, unless the policy names them.
    cells = cells_behind(target, (base,), expectation)
    rule = f"rule {check.selector.text!r}"
    paired = {(row.task, row.ctx): row for row in pairing.rows}
    of_base = rows_by_cell(base)
    if not any(cell in of_base and of_base[cell].n for cell in cells):
        raise UsageError(f"{rule}: BASE has no score for {target.label}; make a new baseline, or drop the rule")
    lacking = shortfall(parts_of(base, None, cells, expectation), check, target.suite, "BASE", unscored_reasons(base))
    if lacking:
        raise UsageError(f"{rule}: {target.label}: {lacking}; make a new baseline, or change the policy")
    parts = _pairable(parts_of(new, base, cells, expectation), paired, expectation)
    lacking = shortfall(parts, check, target.suite, "NEW", unscored_reasons(new))
    unpaired = [cell for cell in cells if not paired[cell].pairs]
    if lacking or unpaired:
        return lacking or f"no sample of {unpaired[0][0]} has a score in both runs"
    return tuple(paired[cell] for cell in cells)


def _pairable(parts: Sequence[Part], paired: Mapping[Cell, PairedRow], expectation: Expectation) -> list[Part]:
    """The parts with only the samples that BASE scored too, as others cannot be paired."""
    pairable = []
    for part in parts:
        states = paired[part.task, part.ctx].new_states
        scored_in_base = sum(states.values())
        wanted = min(expectation.samples or scored_in_base, scored_in_base)
        pairable.append(Part(part.task, part.ctx, wanted, scored_in_base - states["missing"], part.row))
    return pairable


def _test(pairing: Pairing, of_tasks: Sequence[PairedRow], check: Check, target: Target) -> DropTest:
    rows = pairing.in_mean(of_tasks) if target.role == "mean" else of_tasks
    metric = rows[0].metric
    base, new = (
        metric.scale * float(np.mean([weighted_mean(values, row.weights) for row, values in side]))
        for side in ([(row, row.base_values) for row in rows], [(row, row.new_values) for row in rows])
    )
    rise = pairing.differences(rows)
    return DropTest(
        check=check,
        target=target,
        metric=metric,
        pairs=rise.swapped() if metric.higher_is_better else rise,
        certain=pairing.same_model_and_answers,
        base=base,
        new=new,
        of_base=sum(sum(row.new_states.values()) for row in rows),
        tasks=len(of_tasks),
    )


def decide(tests: Sequence[DropTest], error_rate: float) -> list[GateVerdict]:
    """The verdicts of tests that share an error rate."""
    decisions = iter(
        holm_decisions([as_one_sided(test) for test in tests if test.check.kind == "max_drop"], error_rate)
    )
    shared = sum(test.check.kind == "max_drop" for test in tests)
    return [_verdict(test, next(decisions) if test.check.kind == "max_drop" else None, shared) for test in tests]


def as_one_sided(test: DropTest) -> OneSidedTest:
    return OneSidedTest(test.lower_bound, test.check.limit, test.check.level)


def _verdict(test: DropTest, decision: Decision | None, shared: int) -> GateVerdict:
    check = test.check
    interval = test.interval(check.level)
    outcome = _outcome(check, interval, decision)
    more = None
    if outcome == "undecided" and interval is not None:
        low = interval[0] if decision is None or decision.bound is None else decision.bound
        more = _more_samples(test, (low, interval[1]))
    left_out = f" ({test.n:,} of BASE's {test.of_base:,} samples have a score in NEW)" if test.of_base > test.n else ""
    return GateVerdict(
        rule=check.selector.text,
        target=test.target.label,
        kind=check.kind,
        limit=check.limit,
        outcome=outcome,
        passes=outcome == "pass" or (outcome == "undecided" and check.undecided_passes),
        reason=_reason(test, interval, outcome, decision, shared, more) + left_out,
        base=round(test.base, 9),
        new=round(test.new, 9),
        value=round(test.drop, 9),
        drop=round(test.drop, 9),
        interval=interval,
        confidence=check.confidence,
        n=test.n,
        more_samples=more,
        unit=test.metric.unit,
        tier=check.tier,
        level=None if decision is None else decision.level,
        bound=None if decision is None else decision.bound,
    )


def _outcome(check: Check, interval: Interval | None, decision: Decision | None) -> Outcome:
    if interval is not None and interval[1] <= check.limit + ROUNDING:
        return "pass"
    if decision is None or decision.rejected:
        return "fail"
    return "undecided"


def _more_samples(test: DropTest, interval: Interval) -> int | None:
    """Additional pairs after which the interval excludes the limit if the drop stays the same; None if none do.

    Its width falls with the root of their number, and if no pair has changed, about with the number itself.
    """
    drop, limit = test.drop, test.check.limit
    distance = abs(limit - drop)
    half = interval[1] - drop if drop < limit else drop - interval[0]
    if distance <= ROUNDING or half <= 0:
        return None
    if test.pairs.differences.any():
        times = (half / distance) ** 2
    else:
        # Of n pairs without a change the interval ends where a change would be missed by chance: (1 - end)^n is fixed.
        times = math.log1p(-half / test.metric.scale) / math.log1p(-distance / test.metric.scale)
    return max(1, math.ceil(test.n * times) - test.n)


def _reason(
    test: DropTest,
    interval: Interval | None,
    outcome: Outcome,
    decision: Decision | None,
    shared: int,
    more: int | None,
) -> str:
    check = test.check
    if interval is None:
        return "too few pairs for an interval"
    low, high = (beside(end, check.limit) for end in interval)
    seen = f"drop {beside(test.drop, check.limit)} [{low}, {high}]"
    if outcome == "pass":
        return f"{seen} is at most {check.limit:g}"
    if decision is None:
        return f"{seen}: more than {check.limit:g} is not ruled out"
    corrected = f"after correction for {shared} tests"
    bound = "" if decision.bound is None else f"at least {beside(decision.bound, check.limit)} {corrected}"
    if outcome == "fail":
        return f"{seen} is above {check.limit:g}{f'; {bound}' if decision.level < check.level - ROUNDING else ''}"
    needed = (
        "no number of samples decides a drop equal to the limit"
        if more is None
        else f"about {more:,} more samples would"
    )
    alone = f" {corrected} ({bound})" if interval[0] > check.limit + ROUNDING else ""
    return f"{seen}: these samples do not decide whether it is above {check.limit:g}{alone}; {needed}"
