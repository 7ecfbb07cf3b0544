"""Ranks of models in one column, from tests of their differences and not from overlapping intervals."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from evalkit.analysis.comparison import RowComparison, compare_mean, compare_task, corrected
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.pairing import pair_rows
from evalkit.analysis.unpaired_comparison import compare_mean_unpaired, compare_task_unpaired
from evalkit.errors import IncompatibleRunError

_KEPT_RUNS = 32
"""Number of runs whose samples are kept in memory; hundreds would take gigabytes."""


def rank(values: Sequence[float], worse: Callable[[int, Sequence[int]], Sequence[bool]]) -> list[int]:
    """Ranks in the order given, 1 for the best; `values` are higher for better models.

    `worse(leader, others)` says which of `others`, all of lower or equal value, are significantly worse than `leader`.
    A rank holds its leader and the models after it, in order of value, down to the first that is significantly worse;
    that one leads the next rank. So a rank never falls as a value rises.
    """
    order = sorted(range(len(values)), key=lambda index: -values[index])
    ranks = [0] * len(values)
    start = 0
    while start < len(order):
        leader, *others = order[start:]
        told = list(worse(leader, others)) if others else []
        size = 1 + (told.index(True) if True in told else len(others))
        for index in order[start : start + size]:
            ranks[index] = start + 1
        start += size
    return ranks


def worse_than(
    load: Callable[[int], StoredRun], task: str | None, ctx: int
) -> Callable[[int, Sequence[int]], list[bool]]:
    """`worse` for `rank`: the verdicts of comparing runs, by index, in one row or in the mean over tasks (None).

    Samples are paired if both runs answered the same ones, otherwise compared unpaired; the p values of all models
    against one leader are corrected by Holm's method.
    """

    load = lru_cache(maxsize=_KEPT_RUNS)(load)

    def worse(leader: int, others: Sequence[int]) -> list[bool]:
        compared = [_compare(load(leader), load(other), task, ctx) for other in others]
        verdicts = iter(corrected([row for row in compared if row is not None]))
        return [row is not None and next(verdicts).change == "worse" for row in compared]

    return worse


def _compare(base: StoredRun, new: StoredRun, task: str | None, ctx: int) -> RowComparison | None:
    """NEW against BASE in one row or mean; None if they share no task there."""
    try:
        pairing = pair_rows(base, new)
    except IncompatibleRunError:
        # Other seeds, tokenizers or data: the samples are not the same, so nothing can be paired.
        paired = None
    else:
        paired = compare_mean(pairing, ctx) if task is None else compare_task(pairing, task, ctx)
    if paired is not None:
        return paired
    return compare_mean_unpaired(base, new, ctx) if task is None else compare_task_unpaired(base, new, task, ctx)
