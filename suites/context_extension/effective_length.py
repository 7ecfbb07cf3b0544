"""How long a context a model uses: the largest length that passes a rule, and how sure that is.

Three rules: the score of Llama-2-7B at 4,096 tokens (RULER's own, arXiv 2404.06654); 85 % of the model's own score
at the shortest length; better than a baseline. All smaller lengths must pass too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.records import SampleRecord
from evalkit.statistics.intervals import RESAMPLES

FIXED_SCORE = 85.6
OWN_SHARE = 0.85

Array = npt.NDArray[np.float64]
Scores = Mapping[int, Mapping[str, Mapping[str, float]]]
"""Length -> task -> sample id -> score, 0-100."""
Means = dict[int, Array]
"""Length -> mean over the tasks, one for each resample."""
Passes = Callable[[Means], dict[int, npt.NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class EffectiveLength:
    """An effective length in tokens; 0 stands for less than the shortest length."""

    tokens: int
    low: int
    high: int
    """95 % of the resamples lie in [low, high]."""


def collect(records: Sequence[SampleRecord], tasks: Sequence[str]) -> dict[int, dict[str, dict[str, float]]]:
    """The scores of `tasks` by length, task and sample; a length that lacks one of the tasks is left out."""
    scores: dict[int, dict[str, dict[str, float]]] = {}
    for record in records:
        if record.task in tasks and record.score is not None:
            scores.setdefault(record.ctx, {}).setdefault(record.task, {})[record.id] = 100 * record.score
    return {ctx: cells for ctx, cells in sorted(scores.items()) if len(cells) == len(tasks)}


def shared(own: Scores, other: Scores) -> tuple[Scores, Scores]:
    """Both, cut down to the samples that both have."""
    common = {
        ctx: {task: own[ctx][task].keys() & other[ctx][task].keys() for task in own[ctx]} for ctx in own if ctx in other
    }
    cut = [
        {
            ctx: {task: {name: cells[ctx][task][name] for name in sorted(names)} for task, names in by_task.items()}
            for ctx, by_task in common.items()
            if all(by_task.values())
        }
        for cells in (own, other)
    ]
    return cut[0], cut[1]


def above_fixed(means: Means) -> dict[int, npt.NDArray[np.bool_]]:
    """At least 85.6."""
    return {ctx: mean >= FIXED_SCORE for ctx, mean in means.items()}


def above_own_share(means: Means) -> dict[int, npt.NDArray[np.bool_]]:
    """At least 85 % of the model's own mean at the shortest length, in the same resample; never where that is 0."""
    own = means[min(means)]
    return {ctx: (mean >= OWN_SHARE * own) & (own > 0) for ctx, mean in means.items()}


def above_zero(means: Means) -> dict[int, npt.NDArray[np.bool_]]:
    """Above zero: for means of differences from a baseline."""
    return {ctx: mean > 0 for ctx, mean in means.items()}


def effective_length(scores: Scores, passes: Passes, *, seed: int) -> EffectiveLength | None:
    """The effective length with a percentile bootstrap over samples within tasks; None without scores."""
    if not scores:
        return None
    point = _leading(passes({ctx: np.array([_mean(cells)]) for ctx, cells in scores.items()}))
    rng = np.random.default_rng(seed)
    resampled = _leading(passes({ctx: _resampled(cells, rng) for ctx, cells in scores.items()}))
    low, high = np.quantile(resampled, [0.025, 0.975], method="inverted_cdf")
    return EffectiveLength(int(point[0]), int(low), int(high))


def differences(own: Scores, other: Scores) -> Scores:
    """Own minus other, of the same samples."""
    mine, theirs = shared(own, other)
    return {
        ctx: {
            task: {name: value - theirs[ctx][task][name] for name, value in cell.items()}
            for task, cell in cells.items()
        }
        for ctx, cells in mine.items()
    }


def _mean(cells: Mapping[str, Mapping[str, float]]) -> float:
    return float(np.mean([np.mean(list(cell.values())) for cell in cells.values()]))


def _resampled(cells: Mapping[str, Mapping[str, float]], rng: np.random.Generator) -> Array:
    means = []
    for cell in cells.values():
        values = np.array(list(cell.values()))
        counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES)
        means.append(counts @ values / len(values))
    return np.asarray(np.mean(means, axis=0), dtype=np.float64)


def _leading(passed: Mapping[int, npt.NDArray[np.bool_]]) -> npt.NDArray[Any]:
    """For each resample the last length of the unbroken run of passes from the shortest on, else 0."""
    lengths = np.array([0, *sorted(passed)])
    held = np.logical_and.accumulate(np.stack([passed[int(ctx)] for ctx in lengths[1:]]), axis=0)
    found: npt.NDArray[Any] = lengths[held.sum(axis=0)]
    return found
