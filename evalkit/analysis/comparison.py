"""One run against another: what differs, by how much, and whether that can be told from chance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evalkit.analysis.costs import CostComparison, compare_costs, describe_hardware
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.pairing import PairedRow, Pairing
from evalkit.records import ModelIdentity, RunRecord
from evalkit.statistics.intervals import CONFIDENCE, Interval
from evalkit.statistics.paired import holm
from evalkit.statistics.rows import weighted_mean

Change = Literal["better", "worse", "~"]
"""`~`: the difference cannot be told from chance."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """Which run stands on one side of a comparison."""

    run_id: str
    folder: str
    model: ModelIdentity
    hardware: str
    """Empty where the record does not tell."""

    @staticmethod
    def of(run: StoredRun) -> "ComparedRun":
        return ComparedRun(
            run_id=run.record.run_id,
            folder=str(run.folder),
            model=run.record.model,
            hardware=describe_hardware(run.record),
        )


@dataclass(frozen=True, slots=True)
class RowComparison:
    """One task at one context length, or the suite's mean over the tasks there; values in the row's unit."""

    task: str | None
    """None for the mean over tasks."""
    ctx: int
    metric: str
    unit: str
    higher_is_better: bool
    base: float | None
    new: float | None
    """Both over the samples that were compared."""
    difference: float | None
    """New minus base."""
    ci95: Interval | None
    p: float | None
    p_holm: float | None
    """Corrected for all rows of the table."""
    n: int
    """Pairs; without pairing, the samples of the smaller side."""
    improved: int
    worsened: int
    detectable: float | None
    """The smallest true difference that would have been told from chance, before correction, with a power of 80 %."""
    change: Change


@dataclass(frozen=True, slots=True)
class Flip:
    """A sample that the two models answered with unlike success."""

    id: str
    task: str
    ctx: int
    base_score: float
    new_score: float
    base_failure: str | None
    new_failure: str | None
    improved: bool


@dataclass(frozen=True, slots=True)
class FigureComparison:
    """A derived figure of both runs, such as the effective length; nothing is tested."""

    name: str
    base: float | None
    new: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that can be said about two runs of one suite."""

    suite: str
    dialect: str
    base: ComparedRun
    new: ComparedRun
    paired: bool
    confidence: float
    rows: tuple[RowComparison, ...]
    flips: tuple[Flip, ...]
    costs: tuple[CostComparison, ...]
    figures: tuple[FigureComparison, ...]
    notes: tuple[str, ...]


def compare(pairing: Pairing) -> Comparison:
    """Compare two runs whose samples were paired."""
    base, new = pairing.base, pairing.new
    costs, reason = compare_costs(pairing)
    return Comparison(
        suite=base.record.suite,
        dialect=base.record.dialect,
        base=ComparedRun.of(base),
        new=ComparedRun.of(new),
        paired=True,
        confidence=CONFIDENCE,
        rows=corrected([row for ctx in pairing.ctxs for row in compare_rows(pairing, ctx)]),
        flips=tuple(_flips(pairing)),
        costs=costs,
        figures=compare_figures(base.record, new.record),
        notes=tuple(_notes(pairing)) + ((reason,) if reason else ()),
    )


def corrected(rows: Sequence[RowComparison]) -> tuple[RowComparison, ...]:
    """The rows with Holm's correction over all that have a p value, and with what can then be told."""
    adjusted = iter(holm([row.p for row in rows if row.p is not None]))
    return tuple(row if row.p is None else _told(row, next(adjusted)) for row in rows)


def _told(row: RowComparison, p_holm: float) -> RowComparison:
    # p asks whether the models could be exchanged, the interval where their difference lies: both have to say so.
    apart = row.ci95 is None or row.ci95[0] > 0 or row.ci95[1] < 0
    told = p_holm < 1 - CONFIDENCE and apart and row.difference is not None and row.difference != 0
    better = row.difference is not None and (row.difference > 0) == row.higher_is_better
    return replace(row, p_holm=p_holm, change=("better" if better else "worse") if told else "~")


def compare_rows(pairing: Pairing, ctx: int) -> Iterator[RowComparison]:
    """The rows at one context length and the mean over them, before any correction."""
    rows = pairing.at(ctx)
    for row in rows:
        yield _compare_row(pairing, row.task, (row,)) if row.pairs else _unpaired_row(row)
    # The mean over one task is that task, and a row twice would be a look twice.
    if sum(bool(row.pairs) for row in rows) > 1 and (mean := compare_mean(pairing, ctx)) is not None:
        yield mean


def compare_mean(pairing: Pairing, ctx: int) -> RowComparison | None:
    """The mean over the tasks at one length; None if a suite reports none there, or no sample was paired."""
    # By name, so that the mean is the same from either side.
    shared = sorted((row for row in pairing.at(ctx) if row.pairs), key=lambda row: row.task)
    if not shared or not has_mean(pairing.base.record, ctx) or not has_mean(pairing.new.record, ctx):
        return None
    return _compare_row(pairing, None, pairing.in_mean(shared))


def compare_task(pairing: Pairing, task: str, ctx: int) -> RowComparison | None:
    """One task at one length; None if no sample was paired."""
    found = [row for row in pairing.at(ctx) if row.task == task and row.pairs]
    return _compare_row(pairing, task, found) if found else None


def has_mean(record: RunRecord, ctx: int) -> bool:
    """Whether the suite reports a mean over its tasks at `ctx`."""
    return any(row.ctx == ctx for row in record.summary)


def _compare_row(pairing: Pairing, task: str | None, rows: Sequence[PairedRow]) -> RowComparison:
    metric = rows[0].metric
    base = float(np.mean([weighted_mean(row.base_values, row.weights) for row in rows]))
    new = float(np.mean([weighted_mean(row.new_values, row.weights) for row in rows]))
    pairs = pairing.differences(rows)
    changes = [pair.change for row in rows for pair in row.pairs]
    up, down = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    same = pairing.same_model_and_answers
    interval = (0.0, 0.0) if same else pairs.interval()
    detectable = pairs.detectable()
    return RowComparison(
        task=task,
        ctx=rows[0].ctx,
        metric=metric.name if task is not None else "mean",
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        base=round(metric.scale * base, 9),
        new=round(metric.scale * new, 9),
        difference=round(metric.scale * (new - base), 9),
        ci95=None if interval is None else (metric.scale * interval[0], metric.scale * interval[1]),
        p=pairs.p_value(f"{task or ''}@{rows[0].ctx}"),
        p_holm=None,
        n=len(changes),
        improved=up if metric.higher_is_better else down,
        worsened=down if metric.higher_is_better else up,
        detectable=None if detectable is None else metric.scale * detectable,
        change="~",
    )


def _unpaired_row(row: PairedRow) -> RowComparison:
    """A row of which no sample was scored on both sides."""
    return RowComparison(
        task=row.task,
        ctx=row.ctx,
        metric=row.metric.name,
        unit=row.metric.unit,
        higher_is_better=row.metric.higher_is_better,
        base=None,
        new=None,
        difference=None,
        ci95=None,
        p=None,
        p_holm=None,
        n=0,
        improved=0,
        worsened=0,
        detectable=None,
        change="~",
    )


def _flips(pairing: Pairing) -> Iterator[Flip]:
    """Samples whose success changed; of real-valued losses every sample differs, so none is listed."""
    for row in pairing.rows:
        if not row.metric.bounded:
            continue
        for pair in row.pairs:
            if pair.change:
                yield Flip(
                    id=pair.base.id,
                    task=row.task,
                    ctx=row.ctx,
                    base_score=pair.base.score or 0.0,
                    new_score=pair.new.score or 0.0,
                    base_failure=pair.base.failure,
                    new_failure=pair.new.failure,
                    improved=pair.change > 0,
                )


def compare_figures(base: RunRecord, new: RunRecord) -> tuple[FigureComparison, ...]:
    """Derived figures that both runs have, and that one of them could compute; those of a part are not comparable."""
    if base.unfinished or new.unfinished:
        return ()
    of_base, of_new = record_figures(base), record_figures(new)
    shared = [name for name in of_base if name in of_new and (of_base[name], of_new[name]) != (None, None)]
    return tuple(FigureComparison(name, of_base[name], of_new[name]) for name in shared)


def record_figures(record: RunRecord) -> dict[str, float | None]:
    """The figures of a record that are no rows, by the name that policies and reports give them."""
    known = record.effective_length is not None or any(row.complete for row in record.summary)
    length = {"effective_length": record.effective_length} if known else {}
    return {**length, **record.derived, **{figure.name: figure.value for figure in record.figures}}


def unfinished_notes(base: RunRecord, new: RunRecord) -> Iterator[str]:
    """A note for each run that was stopped."""
    for name, record in (("BASE", base), ("NEW", new)):
        if record.unfinished:
            yield (
                f"UNFINISHED: {name} has {record.counts['n']:,} of {record.planned or 0:,} samples; "
                "only these are compared."
            )


def _notes(pairing: Pairing) -> Iterator[str]:
    base, new = pairing.base.record, pairing.new.record
    yield from unfinished_notes(base, new)
    if pairing.same_model_and_answers:
        yield "Both runs are of the same model with the same scores: a difference of zero is certain."
    other = sum(not pair.same_prompt for pair in pairing.pairs())
    if other:
        yield (
            f"The tokenizers differ: {other:,} of {sum(1 for _ in pairing.pairs()):,} pairs are the same question in "
            "another prompt, not the very same prompt."
        )
    for name, states in (("NEW", "new_states"), ("BASE", "base_states")):
        for state in ("errored", "unscored", "missing"):
            lost = {row.task: getattr(row, states)[state] for row in pairing.rows if getattr(row, states)[state]}
            if lost:
                yield f"{sum(lost.values()):,} samples {state} in {name} are left out, in {', '.join(sorted(lost))}."
    for name, record in (("BASE", base), ("NEW", new)):
        if not record.model.trained:
            yield f"UNTRAINED WEIGHTS in {name}: its scores show that the harness runs, not what a model can do."
