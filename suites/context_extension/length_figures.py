"""Means by length and effective lengths, as figures of a run."""

from evalkit.records import Figure
from evalkit.statistics.effective_length import EffectiveLength
from evalkit.statistics.rows import score_figure
from suites.context_extension.effective_length import Scores

MEAN = "mean"
EFFECTIVE_LENGTH = "effective_length"


def mean_figures(scores: Scores) -> list[Figure]:
    """`mean/<length>`: the mean over the grid's tasks, 0-100."""
    return [
        score_figure(f"{MEAN}/{ctx}", [list(cell.values()) for cell in cells.values()]) for ctx, cells in scores.items()
    ]


def length_figure(rule: str, length: EffectiveLength | None, n: int) -> list[Figure]:
    """`effective_length/<rule>` in tokens; 0 means less than the shortest length. Empty without scores."""
    if length is None:
        return []
    return [Figure(f"{EFFECTIVE_LENGTH}/{rule}", length.tokens, "tokens", (length.low, length.high), n)]
