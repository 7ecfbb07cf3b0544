"""Means by length and effective lengths, as figures of a run."""

from evalkit.records import Figure
from evalkit.statistics.intervals import bootstrap_mean_of_means_ci
from suites.context_extension.effective_length import EffectiveLength, Scores

MEAN = "mean"
EFFECTIVE_LENGTH = "effective_length"


def mean_figures(scores: Scores, seed: int) -> list[Figure]:
    """`mean/<length>`: the mean over the grid's tasks, 0-100."""
    figures = []
    for ctx, cells in scores.items():
        groups = [list(cell.values()) for cell in cells.values()]
        figures.append(
            Figure(
                name=f"{MEAN}/{ctx}",
                value=sum(sum(group) / len(group) for group in groups) / len(groups),
                unit="points",
                ci95=bootstrap_mean_of_means_ci(groups, seed=seed),
                n=sum(map(len, groups)),
            )
        )
    return figures


def length_figure(rule: str, length: EffectiveLength | None, n: int) -> list[Figure]:
    """`effective_length/<rule>` in tokens; 0 stands for less than the shortest length. Empty without scores."""
    if length is None:
        return []
    return [Figure(f"{EFFECTIVE_LENGTH}/{rule}", length.tokens, "tokens", (length.low, length.high), n)]
