"""A score along training: one value per checkpoint, over the questions that all checkpoints share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.analysis.finished_run import Cell, StoredRun
from evalkit.analysis.pairing import unlike_things
from evalkit.analysis.selectors import Selector, spelled
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import SampleRecord
from evalkit.records.metrics import Metric, metric_of
from evalkit.statistics.bounded_mean import Array
from evalkit.statistics.intervals import Interval
from evalkit.statistics.paired import pool
from evalkit.statistics.rows import sample_weights
from evalkit.statistics.scores import MeanLoss, MeanScore
from evalkit.statistics.unpaired import welch
from evalkit.values import counted

_SHOWN = 4
"""Tasks that a note names."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The scores of one task, and the weight of each in the task's mean, adding up to 1."""

    scores: Array
    weights: Array


@dataclass(frozen=True, slots=True, eq=False)
class LearningCurve:
    """Checkpoints of one training run, by tokens."""

    runs: tuple[str, ...]
    tokens: Array
    values: Array
    """In the metric's unit."""
    intervals: tuple[Interval | None, ...]
    """95 % interval of each value."""
    metric: Metric
    groups: tuple[tuple[Group, ...], ...]
    """For each checkpoint, the groups whose plain mean is its value."""
    joint: bool
    """Whether both curves have the same questions in the same order."""
    left_out: tuple[str, ...] = ()
    """Notes on tasks and questions that only some of the runs have, which no value covers."""

    @property
    def monotone(self) -> Array:
        """The values made monotone in tokens by isotonic regression."""
        from scipy import optimize

        increasing = self.metric.higher_is_better
        return np.asarray(optimize.isotonic_regression(self.values, increasing=increasing).x, dtype=np.float64)

    def lead(self, number: int, other: "LearningCurve", at: int) -> Interval | None:
        """The 95 % interval of how much better checkpoint `number` is than checkpoint `at` of `other`.

        From differences on the same questions; on losses of other tokenizers, from the two means. None if there are
        too few questions for an interval.
        """
        mine, theirs = self.groups[number], other.groups[at]
        if self.joint:
            changes = [group.scores - base.scores for group, base in zip(mine, theirs, strict=True)]
            weights = [group.weights for group in theirs]
            interval = pool(changes, bounded=self.metric.bounded, weights=weights).interval()
        else:
            compared = welch(_mean_loss(theirs), _mean_loss(mine))
            interval = None if compared is None else compared[0]
        if interval is None or self.metric.higher_is_better:
            return interval
        return -interval[1], -interval[0]


def read_curves(models: Sequence[Sequence[StoredRun]], selector: Selector) -> tuple[LearningCurve, ...]:
    """The curve of each model for what `selector` names.

    Raises UsageError if runs lack `tokens_seen` or the selected row, or if the selected rows have several units, and
    IncompatibleRunError naming what differs between their questions.
    """
    runs = [run for of_model in models for run in of_model]
    _refuse_unlike(runs)
    cells = _selected_cells(runs, selector)
    scores = _Scores(runs, cells, selector)
    return tuple(scores.curve(of_model) for of_model in models)


def _refuse_unlike(runs: Sequence[StoredRun]) -> None:
    for run in runs[1:]:
        unlike = unlike_things(runs[0].record, run.record)
        if unlike:
            raise IncompatibleRunError(
                f"{runs[0].folder} (BASE) and {run.folder} (NEW) have different questions ({'; '.join(unlike)}); "
                "all checkpoints need the same questions"
            )
    for run in runs:
        if run.record.tokens_seen is None:
            raise UsageError(
                f"{run.folder} does not state the training tokens of its checkpoint; write "
                '{"tokens_seen": N} into evalkit.json next to its config.json, and run it again'
            )


def _selected_cells(runs: Sequence[StoredRun], selector: Selector) -> list[Cell]:
    """The rows whose mean is the value: one task, or all tasks at one length."""
    shared = [cell for cell in runs[0].cells() if all(cell in run.cells() for run in runs)]
    named = [cell for cell in shared if selector.task in (None, cell[0])]
    if not named:
        tasks = {task for task, _ in shared}
        raise UsageError(
            f"metric {selector.text!r} selects nothing that all runs have{did_you_mean(selector.task or '', tasks)}"
        )
    ctxs = sorted({ctx for _, ctx in named})
    if selector.ctx is None and len(ctxs) > 1:
        raise UsageError(
            f"metric {selector.text!r} has several lengths ({', '.join(map(str, ctxs))}); add one, as in @{ctxs[-1]}"
        )
    ctx = ctxs[0] if selector.ctx is None else selector.ctx
    cells = sorted(cell for cell in named if cell[1] == ctx)
    if not cells:
        raise UsageError(f"metric {selector.text!r}: there is no length {ctx}; known: {', '.join(map(str, ctxs))}")
    _refuse_mixed_units(runs[0], selector, cells)
    return cells


def _refuse_mixed_units(run: StoredRun, selector: Selector, cells: Sequence[Cell]) -> None:
    """A mean of scores in points and of losses in bits per byte has no meaning."""
    of_unit: dict[str, str] = {}
    for cell in cells:
        of_unit.setdefault(metric_of(_first_scored(run, cell).metric).unit, cell[0])
    if len(of_unit) > 1:
        shown = " and ".join(f"{task} in {unit}" for unit, task in of_unit.items())
        one = spelled(selector.name, cells[0][0], cells[0][1])
        raise UsageError(f"metric {selector.text!r} selects {shown}, which have no mean; name one task, such as {one}")


class _Scores:
    """Scores of every run by cell, over the questions that all runs answered."""

    def __init__(self, runs: Sequence[StoredRun], cells: Sequence[Cell], selector: Selector) -> None:
        self._cells = cells
        self._metric = metric_of(_first_scored(runs[0], cells[0]).metric)
        self._samples = {id(run): run.cells() for run in runs}
        # Windows of a text depend on the tokenizer, so window 3 of one is not window 3 of the other.
        self._joint = self._metric.bounded or len({run.record.model.tokenizer for run in runs}) == 1
        self._shared = {cell: self._shared_indices(runs, cell) for cell in cells} if self._joint else {}
        self._left_out = tuple(self._notes(runs, whole=selector.task is None))

    def curve(self, runs: Sequence[StoredRun]) -> LearningCurve:
        ordered = sorted(runs, key=lambda run: (run.record.tokens_seen or 0, run.record.run_id))
        tokens = np.array([run.record.tokens_seen for run in ordered], dtype=np.float64)
        if (np.diff(tokens) == 0).any() or (tokens <= 0).any():
            at = int(tokens[:-1][np.diff(tokens) == 0][0]) if (np.diff(tokens) == 0).any() else 0
            raise UsageError(
                f"two checkpoints of one model have seen {at:,} tokens, or one has seen none; name one of each"
            )
        groups = [self._groups(run) for run in ordered]
        scale = self._metric.scale
        intervals = [self._interval(each) for each in groups]
        means = [np.mean([float(group.weights @ group.scores) for group in each]) for each in groups]
        return LearningCurve(
            runs=tuple(run.record.run_id for run in ordered),
            tokens=tokens,
            values=scale * np.array(means),
            intervals=tuple(None if each is None else (scale * each[0], scale * each[1]) for each in intervals),
            metric=self._metric,
            groups=tuple(groups),
            joint=self._joint,
            left_out=self._left_out,
        )

    def _notes(self, runs: Sequence[StoredRun], *, whole: bool) -> Iterator[str]:
        """What only some runs have; `whole` if the values are means over all tasks."""
        ctx = self._cells[0][1]
        tasks = sorted({task for run in runs for task, of in self._samples[id(run)] if of == ctx})
        missing = [task for task in tasks if (task, ctx) not in self._cells]
        if whole and missing:
            yield (
                f"Over {len(self._cells)} of {counted(len(tasks), 'task')}: some of the runs do not have "
                f"{', '.join(missing[:_SHOWN])}{f' and {len(missing) - _SHOWN} more' if len(missing) > _SHOWN else ''}."
            )
        shared = sum(map(len, self._shared.values()))
        asked = sum(len({s.index for run in runs for s in self._samples[id(run)][cell]}) for cell in self._shared)
        if asked > shared:
            yield f"Over {shared:,} of {asked:,} questions: the others have no score in at least one of the runs."

    def _shared_indices(self, runs: Sequence[StoredRun], cell: Cell) -> list[int]:
        scored = [{sample.index for sample in self._samples[id(run)][cell] if sample.score is not None} for run in runs]
        shared = sorted(set.intersection(*scored))
        if not shared:
            raise UsageError(f"{cell[0]} at {cell[1]}: no sample is scored at every checkpoint")
        return shared

    def _groups(self, run: StoredRun) -> tuple[Group, ...]:
        """One group per task, or a single one if the suite's mean is over samples."""
        scored = [self._scored(run, cell) for cell in self._cells]
        if any(row.by_sample and row.ctx == self._cells[0][1] for row in run.record.summary):
            scored = [[sample for samples in scored for sample in samples]]
        return tuple(Group(_scores(samples), sample_weights(samples)) for samples in scored)

    def _interval(self, groups: Sequence[Group]) -> Interval | None:
        """The 95 % interval of a checkpoint's value."""
        return (
            MeanScore.of(group.scores for group in groups).interval()
            if self._metric.bounded
            else (_mean_loss(groups).interval())
        )

    def _scored(self, run: StoredRun, cell: Cell) -> list[SampleRecord]:
        samples = [sample for sample in self._samples[id(run)][cell] if sample.score is not None]
        if self._joint:
            shared = set(self._shared[cell])
            samples = [sample for sample in samples if sample.index in shared]
        if not samples:
            raise UsageError(f"{run.folder} has no score for {cell[0]} at {cell[1]}")
        return samples


def _first_scored(run: StoredRun, cell: Cell) -> SampleRecord:
    for sample in run.cells()[cell]:
        if sample.score is not None:
            return sample
    raise UsageError(f"{run.folder} has no score for {cell[0]} at {cell[1]}")


def _mean_loss(groups: Sequence[Group]) -> MeanLoss:
    return MeanLoss.of(
        np.concatenate([group.scores for group in groups]), np.concatenate([group.weights for group in groups])
    )


def _scores(samples: Sequence[SampleRecord]) -> Array:
    return np.array([sample.score for sample in samples], dtype=np.float64)
