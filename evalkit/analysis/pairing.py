"""Pairing of two runs by sample; runs with different questions are refused, naming what differs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from evalkit.analysis.finished_run import Cell, StoredRun
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import SERVED, ModelIdentity, RunRecord, SampleRecord
from evalkit.records.manifest import by_role, corpus_conflicts, differing_settings
from evalkit.records.metrics import Metric, metric_of
from evalkit.statistics.paired import Array, PairedDifferences, pool
from evalkit.statistics.rows import sample_weights

State = Literal["paired", "errored", "unscored", "missing"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample that was scored for both models."""

    base: SampleRecord
    new: SampleRecord

    @property
    def change(self) -> float:
        """NEW - BASE, in the unit of the samples' scores."""
        return (self.new.score or 0.0) - (self.base.score or 0.0)

    @property
    def same_prompt(self) -> bool:
        return self.base.prompt_sha256 == self.new.prompt_sha256


@dataclass(frozen=True, slots=True)
class PairedRow:
    """All pairs of one task at one context length, ordered by index, and what could not be paired."""

    task: str
    ctx: int
    metric: Metric
    pairs: tuple[Pair, ...]
    base_states: Mapping[State, int]
    """Status in BASE of the samples that NEW scored (paired, errored, unscored, missing), as counts."""
    new_states: Mapping[State, int]
    """Status in NEW of the samples that BASE scored, as counts."""

    @property
    def base_values(self) -> Array:
        return np.array([pair.base.score for pair in self.pairs], dtype=np.float64)

    @property
    def new_values(self) -> Array:
        return np.array([pair.new.score for pair in self.pairs], dtype=np.float64)

    @property
    def weights(self) -> Array:
        """Weight of each pair in the row; weights add up to 1."""
        return sample_weights([pair.base for pair in self.pairs])


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two runs of one suite whose samples are the same questions."""

    base: StoredRun
    new: StoredRun
    rows: tuple[PairedRow, ...]
    """In the order of BASE's table, then what only NEW has."""

    @property
    def ctxs(self) -> tuple[int, ...]:
        return tuple(sorted({row.ctx for row in self.rows}))

    def at(self, ctx: int) -> tuple[PairedRow, ...]:
        return tuple(row for row in self.rows if row.ctx == ctx)

    def pairs(self) -> Iterator[Pair]:
        for row in self.rows:
            yield from row.pairs

    def differences(self, rows: Sequence[PairedRow]) -> PairedDifferences:
        """The plain mean over `rows` of new minus base, as one weighted sample; every row needs a pair."""
        return pool(
            [row.new_values - row.base_values for row in rows],
            bounded=all(row.metric.bounded for row in rows),
            weights=[row.weights for row in rows],
        )

    def in_mean(self, rows: Sequence[PairedRow]) -> Sequence[PairedRow]:
        """Rows of one context, grouped for the suite's mean: one group each, or all in one if it is over samples."""
        summary = self.base.record.summary
        return [merge_rows(rows)] if any(row.by_sample and row.ctx == rows[0].ctx for row in summary) else rows

    @property
    def same_model_and_answers(self) -> bool:
        """Whether the runs differ only in their folder, so that a difference of zero is certain.

        Never of a served model, whose name says nothing of its weights.
        """
        base, new = self.base.record, self.new.record
        is_known = not base.model.fingerprint.startswith(SERVED)
        return is_known and model_key(base) == model_key(new) and all(pair.change == 0 for pair in self.pairs())


def merge_rows(rows: Sequence[PairedRow]) -> PairedRow:
    """One row of all pairs of several, which have one metric and one context."""
    return PairedRow(
        task="",
        ctx=rows[0].ctx,
        metric=rows[0].metric,
        pairs=tuple(pair for row in rows for pair in row.pairs),
        base_states={state: sum(row.base_states[state] for row in rows) for state in rows[0].base_states},
        new_states={state: sum(row.new_states[state] for row in rows) for state in rows[0].new_states},
    )


def pair_runs(base: StoredRun, new: StoredRun) -> Pairing:
    """Pair two runs by sample id.

    Raises IncompatibleRunError naming what differs between their questions, and UsageError if they have no scored
    sample in common.
    """
    pairing = pair_rows(base, new)
    if not any(row.pairs for row in pairing.rows):
        raise UsageError(f"{base.folder} and {new.folder} have no scored sample in common, so nothing can be paired")
    return pairing


def pair_rows(base: StoredRun, new: StoredRun) -> Pairing:
    """Pair two runs by sample id, even if no sample was scored in both; IncompatibleRunError as for `pair_runs`."""
    unlike = unlike_things(base.record, new.record)
    if unlike:
        raise IncompatibleRunError(
            f"{base.folder} and {new.folder} have different questions ({'; '.join(unlike)}); "
            "run both with the same settings, or use compare --unpaired for a less sensitive comparison"
        )
    pairing = Pairing(base, new, tuple(_rows(base, new)))
    for pair in pairing.pairs():
        _refuse_other_question(pairing, pair)
    return pairing


def unlike_things(base: RunRecord, new: RunRecord) -> list[str]:
    """Differences between the questions of two runs, as `name: this in BASE, that in NEW`."""
    things: list[tuple[str, Any, Any]] = [
        ("suite", base.suite, new.suite),
        ("suite version", base.suite_version, new.suite_version),
        ("dialect", base.dialect, new.dialect),
        ("seed", base.seed, new.seed),
    ]
    if base.suite == new.suite:
        things += differing_settings(base.question_settings, new.question_settings)
        things += corpus_conflicts(by_role(base.corpora), by_role(new.corpora))
    return [f"{name}: {left} in BASE, {right} in NEW" for name, left, right in things if left != right]


def model_key(record: RunRecord) -> tuple[Any, ...]:
    """Equal for two runs exactly if the same model answered, with the same chat."""
    model = record.model
    chat = model.chat_template, _thinking(model)
    return model.fingerprint, model.tokenizer, model.dtype, model.quantization, model.positions.key, chat


def prompt_makers(base: RunRecord, new: RunRecord) -> str:
    """What puts the same question in different prompts, in the plural; empty if nothing of the models does."""
    if base.model.tokenizer != new.model.tokenizer:
        return "tokenizers"
    if base.model.chat_template != new.model.chat_template:
        return "chat templates"
    return "" if _thinking(base.model) == _thinking(new.model) else "settings of thinking"


def _thinking(model: ModelIdentity) -> str | None:
    """How thinking was set, as far as all versions of a record state it."""
    return None if model.thinking is None else model.thinking.description


def _rows(base: StoredRun, new: StoredRun) -> Iterator[PairedRow]:
    of_base, of_new = base.cells(), new.cells()
    order = [row.cell for run in (base, new) for row in run.record.results]
    for task, ctx in dict.fromkeys(order):
        yield _row((task, ctx), of_base.get((task, ctx), []), of_new.get((task, ctx), []))


def _row(cell: Cell, base: Sequence[SampleRecord], new: Sequence[SampleRecord]) -> PairedRow:
    by_base, by_new = {sample.id: sample for sample in base}, {sample.id: sample for sample in new}
    pairs = tuple(
        Pair(sample, by_new[sample.id])
        for sample in base
        if sample.score is not None and sample.id in by_new and by_new[sample.id].score is not None
    )
    metric = next((sample.metric for sample in (*base, *new) if sample.score is not None), "")
    return PairedRow(
        task=cell[0],
        ctx=cell[1],
        metric=metric_of(metric),
        pairs=pairs,
        base_states=_states(new, by_base),
        new_states=_states(base, by_new),
    )


def _states(scored_here: Sequence[SampleRecord], there: Mapping[str, SampleRecord]) -> dict[State, int]:
    states: dict[State, int] = {"paired": 0, "errored": 0, "unscored": 0, "missing": 0}
    for sample in scored_here:
        if sample.score is not None:
            states[_state(there.get(sample.id))] += 1
    return states


def _state(sample: SampleRecord | None) -> State:
    if sample is None:
        return "missing"
    if sample.error is not None:
        return "errored"
    return "unscored" if sample.score is None else "paired"


def _refuse_other_question(pairing: Pairing, pair: Pair) -> None:
    """Raise IncompatibleRunError if a sample id has two different questions in spite of equal settings."""
    base, new = pair.base, pair.new
    where = f"sample {base.id} in {pairing.base.folder} and {pairing.new.folder}"
    budgets = (base.generation_tokens, new.generation_tokens)
    if None not in budgets and budgets[0] != budgets[1]:
        raise IncompatibleRunError(
            f"{where}: the generation budget is {budgets[0]} tokens in BASE, {budgets[1]} in NEW; run both alike, "
            "or see compare --unpaired for a weaker comparison"
        )
    if base.metric != new.metric:
        raise IncompatibleRunError(
            f"{where}: the metric is {base.metric} in BASE, {new.metric} in NEW; run both with the same settings"
        )
    if pair.same_prompt:
        return
    makers, bounded = prompt_makers(pairing.base.record, pairing.new.record), metric_of(base.metric).bounded
    if not makers or (not bounded and makers != "tokenizers"):
        raise IncompatibleRunError(
            f"{where}: the prompts differ, though tokenizer, seed and corpora are the same; one of the runs was "
            "changed or made by another version: run both again"
        )
    if not bounded:
        raise IncompatibleRunError(
            f"{where}: another tokenizer cuts the text into other windows, so losses are not of the same text; "
            "use compare --unpaired for a less sensitive comparison"
        )
