"""A score along training: one value a checkpoint, with resamples that share their questions across checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.pairing import unlike_things
from evalkit.analysis.selectors import Selector
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import SampleRecord
from evalkit.records.metrics import Metric, metric_of
from evalkit.statistics.bounded_mean import Array
from evalkit.statistics.intervals import Interval
from evalkit.statistics.rows import sample_weights
from evalkit.statistics.scores import MeanLoss, MeanScore

RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class LearningCurve:
    """Checkpoints of one training run, by tokens."""

    runs: tuple[str, ...]
    tokens: Array
    values: Array
    """In the metric's unit."""
    intervals: tuple[Interval | None, ...]
    """95 % interval of each value."""
    resampled: Array
    """RESAMPLES × checkpoints: the values with the questions drawn again, the same ones at every checkpoint."""
    metric: Metric

    @property
    def monotone(self) -> Array:
        """The values, made never to get worse with more tokens (isotonic regression)."""
        return monotone(self.values, higher_is_better=self.metric.higher_is_better)


def read_curves(
    hybrid: Sequence[StoredRun], baseline: Sequence[StoredRun], selector: Selector
) -> tuple[LearningCurve, LearningCurve]:
    """The curves of both models for what `selector` names, resampled together.

    Raises UsageError where runs lack `tokens_seen` or the selected row, and IncompatibleRunError naming what differs
    where they asked unlike things.
    """
    runs = [*hybrid, *baseline]
    _refuse_unlike(runs)
    cells = _selected_cells(runs, selector)
    drawn = _Draws(runs, cells)
    return drawn.curve(hybrid), drawn.curve(baseline)


def monotone(values: Array, *, higher_is_better: bool) -> Array:
    """Isotonic regression of values in the order of their tokens."""
    from scipy import optimize

    return np.asarray(optimize.isotonic_regression(values, increasing=higher_is_better).x, dtype=np.float64)


def _refuse_unlike(runs: Sequence[StoredRun]) -> None:
    for run in runs[1:]:
        unlike = unlike_things(runs[0].record, run.record)
        if unlike:
            raise IncompatibleRunError(
                f"{runs[0].folder} (BASE) and {run.folder} (NEW) asked different things ({'; '.join(unlike)}); "
                "every checkpoint must be asked alike"
            )
    for run in runs:
        if run.record.tokens_seen is None:
            raise UsageError(f"{run.folder} does not say how many tokens its checkpoint has seen (tokens_seen)")


def _selected_cells(runs: Sequence[StoredRun], selector: Selector) -> list[tuple[str, int]]:
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
    return cells


class _Draws:
    """Every run's scores by cell, and one set of resamples for all that asked the same questions."""

    def __init__(self, runs: Sequence[StoredRun], cells: Sequence[tuple[str, int]]) -> None:
        self._cells = cells
        self._metric = metric_of(_first_scored(runs[0], cells[0]).metric)
        self._samples = {id(run): run.cells() for run in runs}
        # Windows of a text depend on the tokenizer, so window 3 of one is not window 3 of the other.
        self._joint = self._metric.bounded or len({run.record.model.tokenizer for run in runs}) == 1
        self._shared = {cell: self._shared_indices(runs, cell) for cell in cells} if self._joint else {}

    def curve(self, runs: Sequence[StoredRun]) -> LearningCurve:
        ordered = sorted(runs, key=lambda run: (run.record.tokens_seen or 0, run.record.run_id))
        tokens = np.array([run.record.tokens_seen for run in ordered], dtype=np.float64)
        if (np.diff(tokens) == 0).any() or (tokens <= 0).any():
            at = int(tokens[:-1][np.diff(tokens) == 0][0]) if (np.diff(tokens) == 0).any() else 0
            raise UsageError(
                f"two checkpoints of one model have seen {at:,} tokens, or one has seen none; name one of each"
            )
        columns = [self._values(run, number) for number, run in enumerate(ordered)]
        scale = self._metric.scale
        intervals = [self._estimate(run).interval() for run in ordered]
        return LearningCurve(
            runs=tuple(run.record.run_id for run in ordered),
            tokens=tokens,
            values=np.array([value for value, _ in columns]),
            intervals=tuple(None if each is None else (scale * each[0], scale * each[1]) for each in intervals),
            resampled=np.stack([resampled for _, resampled in columns], axis=1),
            metric=self._metric,
        )

    def _shared_indices(self, runs: Sequence[StoredRun], cell: tuple[str, int]) -> list[int]:
        scored = [{sample.index for sample in self._samples[id(run)][cell] if sample.score is not None} for run in runs]
        shared = sorted(set.intersection(*scored))
        if not shared:
            raise UsageError(f"{cell[0]} at {cell[1]}: no sample is scored at every checkpoint")
        return shared

    def _values(self, run: StoredRun, number: int) -> tuple[float, Array]:
        """The run's value, and its resamples; joint draws are the same for every run."""
        value, resampled = 0.0, np.zeros(RESAMPLES)
        for position, cell in enumerate(self._cells):
            samples = self._scored(run, cell)
            scores, weights = _scores(samples), sample_weights(samples)
            rng = np.random.default_rng([_SEED, position, 0 if self._joint else 1 + number])
            counts = rng.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size=RESAMPLES)
            drawn = counts * weights
            totals = drawn.sum(axis=1)
            means = np.divide(drawn @ scores, totals, out=np.full(RESAMPLES, float(weights @ scores)), where=totals > 0)
            share = self._share(run, cell)
            value += float(weights @ scores) * share
            resampled += means * share
        return self._metric.scale * value, self._metric.scale * resampled

    def _estimate(self, run: StoredRun) -> MeanScore | MeanLoss:
        """How sure the run's value is by itself."""
        scored = [self._scored(run, cell) for cell in self._cells]
        if not self._metric.bounded:
            samples = [sample for group in scored for sample in group]
            return MeanLoss.of(_scores(samples), sample_weights(samples))
        groups = [_scores(samples) for samples in scored]
        return MeanScore.of([np.concatenate(groups)] if self._by_sample(run) else groups)

    def _by_sample(self, run: StoredRun) -> bool:
        return any(row.by_sample and row.ctx == self._cells[0][1] for row in run.record.summary)

    def _share(self, run: StoredRun, cell: tuple[str, int]) -> float:
        """What a cell weighs in the value: as much as any other, or by its samples where the suite's mean does so."""
        if not self._by_sample(run):
            return 1 / len(self._cells)
        return len(self._scored(run, cell)) / sum(len(self._scored(run, other)) for other in self._cells)

    def _scored(self, run: StoredRun, cell: tuple[str, int]) -> list[SampleRecord]:
        samples = [sample for sample in self._samples[id(run)][cell] if sample.score is not None]
        if self._joint:
            shared = set(self._shared[cell])
            samples = [sample for sample in samples if sample.index in shared]
        if not samples:
            raise UsageError(f"{run.folder} has no score for {cell[0]} at {cell[1]}")
        return samples


def _first_scored(run: StoredRun, cell: tuple[str, int]) -> SampleRecord:
    for sample in run.cells()[cell]:
        if sample.score is not None:
            return sample
    raise UsageError(f"{run.folder} has no score for {cell[0]} at {cell[1]}")


def _scores(samples: Sequence[SampleRecord]) -> Array:
    return np.array([sample.score for sample in samples], dtype=np.float64)
