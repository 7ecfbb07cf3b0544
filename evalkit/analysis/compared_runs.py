"""Several runs of one suite, each compared with the same BASE."""

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.analysis.comparison import Comparison, compare, corrected_together
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.pairing import Pairing, pair_runs
from evalkit.analysis.unpaired_comparison import compare_unpaired


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """Runs of one suite with their comparisons."""

    runs: tuple[StoredRun, ...]
    """BASE first."""
    comparisons: tuple[Comparison, ...]
    """Of each other run with BASE; p values are corrected over all of them."""
    pairings: tuple[Pairing, ...]
    """Of each comparison; empty if the samples were not paired."""


def compare_with_base(base: StoredRun, others: Sequence[StoredRun], *, unpaired: bool = False) -> ComparedRuns:
    """Compare runs of one suite with BASE; raises as `pair_runs`, or as `compare_unpaired`."""
    pairings = () if unpaired else tuple(pair_runs(base, other) for other in others)
    apart = [compare_unpaired(base, other) for other in others] if unpaired else [compare(one) for one in pairings]
    return ComparedRuns((base, *others), tuple(corrected_together(apart)), pairings)
