"""Times and memory of two runs, compared if the hardware was the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.analysis.pairing import PairedRow, Pairing
from evalkit.records import RunRecord


@dataclass(frozen=True, slots=True)
class CostComparison:
    """A time or an amount of memory, on the same hardware."""

    name: str
    ctx: int | None
    """None for the whole run."""
    unit: str
    base: float
    new: float
    change: float
    """Relative change: 0.05 is 5 % more. For times, the median over pairs of new / base, minus 1."""
    n: int


def compare_costs(pairing: Pairing) -> tuple[tuple[CostComparison, ...], str | None]:
    """Times and memory of both runs, and the reason why some or all of them cannot be compared."""
    reason = hardware_difference(pairing.base.record, pairing.new.record)
    if reason is not None:
        return (), f"Times and memory are left out: {reason}."
    times = [
        cost
        for ctx in pairing.ctxs
        for name in ("prefill_seconds", "decode_seconds")
        if (cost := compare_times(pairing.at(ctx), name, ctx)) is not None
    ]
    base, new = pairing.base.record, pairing.new.record
    memory = compare_memory(base, new)
    return tuple(times) + (() if memory is None else (memory,)), _other_lengths_note(base, new)


def compare_times(rows: Sequence[PairedRow], name: str, ctx: int | None) -> CostComparison | None:
    """Seconds per sample, median over the pairs of `rows`, which are at `ctx` if it is given; None without any time.

    Ratios are taken per pair, that is per prompt, so that a first sample that waited for kernels to compile does not
    change their median.
    """
    seconds = np.array(
        [(getattr(pair.base, name), getattr(pair.new, name)) for row in rows for pair in row.pairs], dtype=np.float64
    ).reshape(-1, 2)
    timed = seconds[(seconds > 0).all(axis=1)]
    if len(timed) == 0:
        return None
    return CostComparison(
        name=name,
        ctx=ctx,
        unit="s per sample",
        base=float(np.median(timed[:, 0])),
        new=float(np.median(timed[:, 1])),
        change=float(np.median(timed[:, 1] / timed[:, 0])) - 1,
        n=len(timed),
    )


def compare_memory(base: RunRecord, new: RunRecord) -> CostComparison | None:
    """Peak bytes of both runs, which are those of their longest context.

    None if one is unfinished, lacks them or has another longest context, or if they were measured in different ways.
    """
    if base.unfinished or new.unfinished or longest_context(base) != longest_context(new):
        return None
    left, right = base.memory.peak_bytes, new.memory.peak_bytes
    if not left or not right or base.memory.method != new.memory.method:
        return None
    return CostComparison("peak_memory", None, "bytes", float(left), float(right), right / left - 1, 1)


def longest_context(record: RunRecord) -> int:
    """The longest context of a run; 0 without lengths."""
    return max((row.ctx for row in record.results), default=0)


def _other_lengths_note(base: RunRecord, new: RunRecord) -> str | None:
    left, right = longest_context(base), longest_context(new)
    unknown = not base.memory.peak_bytes or not new.memory.peak_bytes
    return (
        None
        if left == right or unknown
        else f"Peak memory is left out: the longest context is {left:,} in BASE and {right:,} in NEW."
    )


def describe_hardware(record: RunRecord) -> str:
    """All processors or GPUs that answered samples of the run; empty if the record does not state them."""
    names = _hardware(record)
    return " and ".join(name or "hardware that was not recorded" for name in names) if any(names) else ""


def hardware_difference(base: RunRecord, new: RunRecord) -> str | None:
    """Why times and memory of the two runs cannot be compared; None if each ran on one machine of the same kind."""
    sides = [describe_hardware(record) for record in (base, new)]
    if not all(sides):
        return "a record does not say what it ran on"
    for name, record, side in zip(("BASE", "NEW"), (base, new), sides, strict=True):
        if len(_hardware(record)) > 1:
            return f"{name} ran on {side}, and times of different hardware are not averaged"
    return None if sides[0] == sides[1] else f"BASE ran on {sides[0]}, NEW on {sides[1]}"


def _hardware(record: RunRecord) -> tuple[str, ...]:
    """Each once, in the order of the sessions; empty text if unknown."""
    return tuple(
        dict.fromkeys(kind for session in record.sessions if session.samples for kind in session.hardware_kinds)
    )
