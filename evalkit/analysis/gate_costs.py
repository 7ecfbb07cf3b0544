"""Times and memory: `max_increase` compares NEW with BASE on the same hardware."""

from evalkit.analysis.costs import (
    CostComparison,
    compare_memory,
    compare_times,
    hardware_difference,
    longest_context,
)
from evalkit.analysis.gate_drops import rows_behind
from evalkit.analysis.gate_targets import Target
from evalkit.analysis.gate_verdict import ROUNDING, GateVerdict, incomplete, percent_beside
from evalkit.analysis.pairing import PairedRow, Pairing
from evalkit.analysis.policy import Check, Expectation
from evalkit.errors import IncompatibleRunError, UsageError


def check_cost(pairing: Pairing, check: Check, target: Target, expectation: Expectation) -> GateVerdict:
    """Compare a time or an amount of memory, which must cover all samples of BASE: fewer samples cost less."""
    if target.role != "cost":
        raise UsageError(f"rule {check.selector.text!r}: max_increase is for times and memory")
    rows = rows_behind(pairing, check, target, expectation)
    if isinstance(rows, str):
        return incomplete(check, target, rows)
    _refuse_other_hardware(pairing, check)
    cost = _memory(pairing, check) if target.name == "peak_memory" else _times(rows, check, target)
    if cost is None:
        return incomplete(check, target, f"NEW has no {target.name.replace('_', ' ')}")
    passes = cost.change <= check.limit + ROUNDING
    return GateVerdict(
        rule=check.selector.text,
        target=target.label,
        kind=check.kind,
        limit=check.limit,
        outcome="pass" if passes else "fail",
        passes=passes,
        reason=f"{percent_beside(cost.change, check.limit)} is {'at most' if passes else 'above'} "
        f"{percent_beside(check.limit, check.limit)}",
        base=cost.base,
        new=cost.new,
        value=cost.change,
        drop=cost.change,
        n=cost.n,
        unit=cost.unit,
        tier=check.tier,
    )


def _refuse_other_hardware(pairing: Pairing, check: Check) -> None:
    if (reason := hardware_difference(pairing.base.record, pairing.new.record)) is not None:
        raise IncompatibleRunError(
            f"rule {check.selector.text!r}: {reason}, so times and memory cannot be compared; "
            "run both on one machine, or drop the rule"
        )


def _memory(pairing: Pairing, check: Check) -> CostComparison | None:
    """None if NEW has no peak memory; UsageError if BASE has none."""
    base, new = pairing.base.record, pairing.new.record
    if not base.memory.peak_bytes:
        raise UsageError(f"rule {check.selector.text!r}: BASE has no peak memory; make a new baseline")
    if new.memory.peak_bytes and base.memory.method != new.memory.method:
        raise IncompatibleRunError(
            f"rule {check.selector.text!r}: the ways of measuring memory differ ({base.memory.method} in BASE, "
            f"{new.memory.method} in NEW)"
        )
    if longest_context(base) != longest_context(new):
        raise IncompatibleRunError(
            f"rule {check.selector.text!r}: the longest context is {longest_context(base):,} in BASE and "
            f"{longest_context(new):,} in NEW, so peak memory cannot be compared; make a new baseline, or drop the rule"
        )
    return compare_memory(base, new)


def _times(rows: tuple[PairedRow, ...], check: Check, target: Target) -> CostComparison | None:
    """None if NEW has no times; UsageError if BASE has none and NEW has."""
    pairs = [pair for row in rows for pair in row.pairs]
    in_base, in_new = (any(getattr(getattr(pair, side), target.name) for pair in pairs) for side in ("base", "new"))
    if not in_base and not in_new:
        # Neither run spent any, such as time for decoding if only log-probabilities are computed.
        return CostComparison(target.name, target.ctx, "s per sample", 0.0, 0.0, 0.0, len(pairs))
    if not in_base:
        raise UsageError(
            f"rule {check.selector.text!r}: BASE has no {target.name.replace('_', ' ')} for {target.label}, though NEW "
            "has; make a new baseline, or drop the rule"
        )
    return compare_times(rows, target.name, target.ctx)
