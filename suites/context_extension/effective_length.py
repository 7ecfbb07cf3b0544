"""The three rules for an effective length.

The score of Llama-2-7B at 4,096 tokens (RULER's own rule, arXiv 2404.06654); 85 % of the model's own score at the
shortest length; better than a baseline on the same samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from evalkit.records import EFFECTIVE_LENGTH, Figure, SampleRecord
from evalkit.statistics.effective_length import FIXED_SCORE, OWN_SHARE, EffectiveLength
from evalkit.statistics.paired import PairedDifferences, pool
from evalkit.statistics.scores import MeanScore

_EQUAL = 1e-9
"""Margin within which a mean equals the threshold, and passes."""

Scores = Mapping[int, Mapping[str, Mapping[str, float]]]
"""Length -> task -> sample id -> score in [0, 1]."""


def length_figure(rule: str, length: EffectiveLength | None, n: int) -> list[Figure]:
    """The effective length by `rule` in tokens; 0 means less than the shortest length. Empty without scores."""
    if length is None:
        return []
    return [Figure(EFFECTIVE_LENGTH, length.tokens, "tokens", (length.low, length.high), n, part=rule)]


def collect(records: Sequence[SampleRecord], tasks: Sequence[str]) -> dict[int, dict[str, dict[str, float]]]:
    """The scores of `tasks` by length, task and sample; a length that lacks one of the tasks is left out."""
    scores: dict[int, dict[str, dict[str, float]]] = {}
    for record in records:
        if record.task in tasks and record.score is not None:
            scores.setdefault(record.ctx, {}).setdefault(record.task, {})[record.id] = record.score
    return {ctx: cells for ctx, cells in sorted(scores.items()) if len(cells) == len(tasks)}


def above_fixed(scores: Scores) -> dict[int, MeanScore]:
    """Margins of the rule `at least 85.6 points`."""
    return {ctx: replace(mean_score(cells), offset=_EQUAL - FIXED_SCORE / 100) for ctx, cells in scores.items()}


def above_own_share(scores: Scores) -> dict[int, MeanScore]:
    """Margins of the rule `at least 85 % of the own mean at the shortest length`; nothing passes if that is 0."""
    means = {ctx: mean_score(cells) for ctx, cells in scores.items()}
    if not means:
        return {}
    shortest = min(means)
    margins = {ctx: means[ctx].minus(OWN_SHARE, means[shortest]) for ctx in means if ctx != shortest}
    return {shortest: means[shortest], **{ctx: replace(m, offset=m.offset + _EQUAL) for ctx, m in margins.items()}}


def above_baseline(own: Scores, baseline: Scores) -> dict[int, PairedDifferences]:
    """Margins of the rule `better than the baseline`, over the samples that both have."""
    margins = {}
    for ctx, cells in own.items():
        other = baseline.get(ctx, {})
        shared = {task: sorted(cells[task].keys() & other.get(task, {}).keys()) for task in cells}
        if all(shared.values()):
            groups = [np.array([cells[task][i] - other[task][i] for i in names]) for task, names in shared.items()]
            margins[ctx] = pool(groups, bounded=True)
    return margins


def mean_score(cells: Mapping[str, Mapping[str, float]]) -> MeanScore:
    """The mean over the tasks at one length."""
    return MeanScore.of([list(cell.values()) for cell in cells.values()])
