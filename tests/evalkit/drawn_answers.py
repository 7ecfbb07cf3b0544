"""Right and wrong answers of two models, drawn with a known difference."""

import numpy as np

from evalkit.statistics.paired import PairedDifferences, pool


def answers(rng: np.random.Generator, pairs: int, changed: float, drop: float) -> PairedDifferences:
    """Draw drops of right-or-wrong answers, of which the given share changes."""
    chance = rng.random(pairs)
    worse = (changed + drop) / 2
    return pool([np.where(chance < worse, 1.0, np.where(chance < changed, -1.0, 0.0))], bounded=True)
