"""Loss as a function of training tokens, E + B / D^β, for one curve or several that share E and β.

Hoffmann et al., Training Compute-Optimal Large Language Models (2022), eq. 2, at a fixed model size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.statistics.paired import Array

BETA_RANGE = (0.01, 3.0)
_BETA_GRID = np.geomspace(*BETA_RANGE, 25)
_AT_BOUND = 1.02


@dataclass(frozen=True, slots=True)
class ScalingLaw:
    """One fit to one or more curves."""

    floor: float
    """E, the irreducible loss."""
    exponent: float
    """β"""
    coefficients: tuple[float, ...]
    """B of each curve, in loss × tokens^β."""
    residuals: tuple[tuple[float, ...], ...]
    """Residuals (measured minus fitted) of each curve's points."""
    rms: float
    determined: bool
    """False if β is at an end of its range or E is zero: the points bend too little to determine them."""

    def loss(self, tokens: float, curve: int = 0) -> float:
        """The fitted loss at `tokens`."""
        return float(self.floor + self.coefficients[curve] / tokens**self.exponent)

    def tokens(self, loss: float, curve: int = 0) -> float | None:
        """The tokens at which the fit reaches `loss`; None if it never does."""
        if loss <= self.floor or self.coefficients[curve] <= 0:
            return None
        try:
            return float((self.coefficients[curve] / (loss - self.floor)) ** (1 / self.exponent))
        except OverflowError:
            return None

    def data_ratio(self, one: int, other: int) -> float | None:
        """Ratio of the tokens of `one` to those of `other` at equal loss, for a fit with shared E and β."""
        if self.coefficients[one] <= 0 or self.coefficients[other] <= 0:
            return None
        return float((self.coefficients[one] / self.coefficients[other]) ** (1 / self.exponent))


def fit(curves: Sequence[tuple[Array, Array]]) -> ScalingLaw | None:
    """Fit (tokens, losses) of each curve by least squares, with shared E and β.

    For a given β the problem is linear with coefficients of at least 0; β is searched. None if there are too few
    points: each curve needs two, and all together one more than there are parameters.
    """
    points = sum(len(tokens) for tokens, _ in curves)
    if any(len(tokens) < 2 for tokens, _ in curves) or points < len(curves) + 3:
        return None
    from scipy import optimize

    scale = math.exp(float(np.mean([np.log(tokens).mean() for tokens, _ in curves])))
    errors = [_solve(curves, scale, beta)[1] for beta in _BETA_GRID]
    best = int(np.argmin(errors))
    low, high = _BETA_GRID[max(0, best - 1)], _BETA_GRID[min(len(_BETA_GRID) - 1, best + 1)]
    found = optimize.minimize_scalar(
        lambda beta: _solve(curves, scale, beta)[1], bounds=(low, high), method="bounded", options={"xatol": 1e-10}
    )
    beta = float(found.x) if found.fun <= errors[best] else float(_BETA_GRID[best])
    solution, error = _solve(curves, scale, beta)
    floor, scaled = float(solution[0]), solution[1:]
    residuals = tuple(
        tuple(float(value) for value in losses - (floor + scaled[number] * (tokens / scale) ** -beta))
        for number, (tokens, losses) in enumerate(curves)
    )
    return ScalingLaw(
        floor=floor,
        exponent=beta,
        coefficients=tuple(float(value * scale**beta) for value in scaled),
        residuals=residuals,
        rms=error / math.sqrt(points),
        determined=BETA_RANGE[0] * _AT_BOUND < beta < BETA_RANGE[1] / _AT_BOUND and floor > 0,
    )


def _solve(curves: Sequence[tuple[Array, Array]], scale: float, beta: float) -> tuple[Array, float]:
    """E and each curve's B / scale^β at this β, all at least 0, and the norm of the residuals."""
    from scipy import optimize

    rows = []
    for number, (tokens, _) in enumerate(curves):
        block = np.zeros((len(tokens), 1 + len(curves)))
        block[:, 0] = 1
        block[:, 1 + number] = (tokens / scale) ** -beta
        rows.append(block)
    solution, error = optimize.nnls(np.concatenate(rows), np.concatenate([losses for _, losses in curves]))
    return solution, float(error)
