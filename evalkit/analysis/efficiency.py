"""Token efficiency: training tokens that one architecture needs to reach the scores of another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.learning_curve import LearningCurve, read_curves
from evalkit.analysis.selectors import Selector
from evalkit.errors import UsageError
from evalkit.statistics.bounded_mean import Array
from evalkit.statistics.intervals import Interval
from evalkit.statistics.scaling_law import ScalingLaw, fit

Reached = Literal["between", "at most", "not reached", "extrapolated", "never"]
"""`between` checkpoints, `at most` the first one's tokens, `not reached` in the data, or from the fit if requested."""

FitName = Literal["shared", "hybrid", "baseline"]
HYBRID, BASELINE = 0, 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One measured point of a curve."""

    run_id: str
    tokens: float
    value: float
    ci95: Interval | None
    monotone: float
    """The value on the monotone curve."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Tokens that the hybrid needs for a score of the baseline."""

    target: float
    baseline_run: str
    baseline_tokens: float
    hybrid_tokens: float | None
    reached: Reached
    saving: float | None
    """Saving as a fraction of the baseline's tokens; a lower bound if `reached` is `at most`."""
    ci95: tuple[float | None, float | None]
    """95 % interval in steps of checkpoints; None for an end that lies outside the data."""


@dataclass(frozen=True, slots=True)
class LawFit:
    """A scaling law through the points of one curve, or of both with E and β shared."""

    name: FitName
    floor: float
    exponent: float
    coefficients: tuple[float, ...]
    residuals: tuple[tuple[float, ...], ...]
    rms: float
    determined: bool
    saving: float | None
    """1 - (B hybrid / B baseline)^(1/β): tokens saved at any equal loss; of the shared fit alone.

    It has no interval: the error of a fit is in its shape, which resampling the questions would not show.
    """

    @staticmethod
    def of(name: FitName, law: ScalingLaw) -> "LawFit":
        ratio = law.data_ratio(HYBRID, BASELINE) if name == "shared" else None
        return LawFit(
            name=name,
            floor=law.floor,
            exponent=law.exponent,
            coefficients=law.coefficients,
            residuals=law.residuals,
            rms=law.rms,
            determined=law.determined,
            saving=None if ratio is None else 1 - ratio,
        )


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """Published results for 7B models, for comparison."""

    what: str
    value: str


PUBLISHED_SOURCE = "Merrill et al., Olmo Hybrid: From Theory to Practice and Back (2026, arXiv 2604.03444)"
PUBLISHED = (
    PublishedFigure("tokens saved to Olmo 3 7B's MMLU", "49 %"),
    PublishedFigure("tokens saved to its Common Crawl loss", "35 %"),
    PublishedFigure("B of the scaling law, hybrid and transformer", "83.7 and 94.9 (ratio 0.882)"),
)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The token efficiency of a hybrid against a baseline, by one metric."""

    metric: str
    unit: str
    higher_is_better: bool
    hybrid: tuple[Checkpoint, ...]
    baseline: tuple[Checkpoint, ...]
    savings: tuple[Saving, ...]
    """One per score of the baseline, its final score last."""
    fits: tuple[LawFit, ...]
    fitted: str
    """The quantity that the scaling law is fitted to."""
    extrapolated: bool
    notes: tuple[str, ...]
    published: tuple[PublishedFigure, ...] = PUBLISHED


@dataclass(frozen=True, slots=True)
class Training:
    """The checkpoints of one training run, by one metric."""

    metric: str
    unit: str
    higher_is_better: bool
    points: tuple[Checkpoint, ...]
    notes: tuple[str, ...] = ()


def follow_training(runs: Sequence[StoredRun], metric: str) -> Training:
    """The checkpoints of one training run by `metric`, in the order of their tokens.

    Raises UsageError for fewer than two, and as `read_curves` does.
    """
    if len(runs) < 2:
        raise UsageError(f"there are {len(runs)} checkpoints by {metric}; a curve needs at least 2")
    (curve,) = read_curves([runs], Selector.parse(metric))
    return Training(metric, curve.metric.unit, curve.metric.higher_is_better, _checkpoints(curve), curve.left_out)


def measure_efficiency(
    hybrid: Sequence[StoredRun], baseline: Sequence[StoredRun], metric: str, *, extrapolate: bool = False
) -> Efficiency:
    """Compare two models along their training by `metric`, a selector such as `mmlu`, `loss` or `ruler@65536`.

    Raises UsageError for fewer than two checkpoints of either model and as `read_curves` does.
    """
    for name, runs in (("the hybrid", hybrid), ("--baseline", baseline)):
        if len(runs) < 2:
            raise UsageError(f"{name} has {len(runs)} checkpoints by {metric}; a curve needs at least 2")
    of_hybrid, of_baseline = read_curves([hybrid, baseline], Selector.parse(metric))
    curves = of_hybrid, of_baseline
    laws = _fit_all(curves)
    law = laws.get("hybrid") or laws.get("shared")
    return Efficiency(
        metric=metric,
        unit=curves[0].metric.unit,
        higher_is_better=curves[0].metric.higher_is_better,
        hybrid=_checkpoints(curves[HYBRID]),
        baseline=_checkpoints(curves[BASELINE]),
        savings=tuple(
            _saving(curves, number, law if extrapolate else None) for number in range(len(curves[BASELINE].tokens))
        ),
        fits=tuple(LawFit.of(name, found) for name, found in laws.items()),
        fitted=_fitted(curves[0]),
        extrapolated=extrapolate,
        notes=tuple(_notes(curves, laws, extrapolate=extrapolate)),
    )


def tokens_needed(tokens: Array, values: Array, target: float, *, higher_is_better: bool) -> float:
    """The fewest tokens at which a monotone curve reaches `target`, linear in the logarithm between checkpoints.

    The first checkpoint's tokens if it is reached there already, and infinity if it is not reached.
    """
    sign = 1.0 if higher_is_better else -1.0
    reached = np.flatnonzero(sign * values >= sign * target - 1e-12)
    if len(reached) == 0:
        return math.inf
    after = int(reached[0])
    if after == 0:
        return float(tokens[0])
    before = after - 1
    share = (target - values[before]) / (values[after] - values[before])
    if share >= 1:
        return float(tokens[after])
    logs = np.log(tokens[before : after + 1])
    return float(np.exp(logs[0] + share * (logs[1] - logs[0])))


def _saving(curves: tuple[LearningCurve, LearningCurve], number: int, law: ScalingLaw | None) -> Saving:
    """The saving at the baseline's checkpoint `number`, with both sides on their monotone curves."""
    hybrid, baseline = curves
    higher = hybrid.metric.higher_is_better
    target = float(baseline.monotone[number])
    spent = tokens_needed(baseline.tokens, baseline.monotone, target, higher_is_better=higher)
    needed = tokens_needed(hybrid.tokens, hybrid.monotone, target, higher_is_better=higher)
    reached, tokens = _reached(hybrid, needed, target, law)
    more, most = tokens_interval(hybrid, baseline, number)
    return Saving(
        target=target,
        baseline_run=baseline.runs[number],
        baseline_tokens=spent,
        hybrid_tokens=tokens,
        reached=reached,
        saving=None if tokens is None else 1 - tokens / spent,
        ci95=(None if most is None else 1 - most / spent, None if more is None else 1 - more / spent),
    )


def tokens_interval(hybrid: LearningCurve, baseline: LearningCurve, number: int) -> tuple[float | None, float | None]:
    """95 % interval, in checkpoints, of the tokens at which the hybrid reaches the baseline's checkpoint `number`.

    It assumes only that a model does not get worse in training. Counted from the first, the last checkpoint that is
    significantly worse is the lower end; counted back from the last, the first that is significantly as good is the
    upper end. Tests in a fixed order that stop at the first failure need no correction for being several (Maurer,
    Hothorn and Lehmacher, Multiple comparisons in drug clinical trials and preclinical assays, 1995).
    """
    more = most = None
    for at in range(len(hybrid.tokens)):
        lead = hybrid.lead(at, baseline, number)
        if lead is None or lead[1] >= 0:
            break
        more = float(hybrid.tokens[at])
    for at in reversed(range(len(hybrid.tokens))):
        lead = hybrid.lead(at, baseline, number)
        if lead is None or lead[0] < 0:
            break
        most = float(hybrid.tokens[at])
    return more, most


def _reached(
    hybrid: LearningCurve, needed: float, target: float, law: ScalingLaw | None
) -> tuple[Reached, float | None]:
    if math.isinf(needed):
        if law is None:
            return "not reached", None
        tokens = law.tokens(_to_loss(hybrid, np.array([target]))[0])
        # A fit below the measured points has not reached the target there either.
        return ("never", None) if tokens is None or tokens < hybrid.tokens[-1] else ("extrapolated", tokens)
    return ("at most" if needed == hybrid.tokens[0] else "between"), needed


def _fit_all(curves: tuple[LearningCurve, LearningCurve]) -> dict[FitName, ScalingLaw]:
    points = [(curve.tokens, _to_loss(curve, curve.values)) for curve in curves]
    laws: dict[FitName, ScalingLaw | None] = {
        "shared": fit(points),
        "hybrid": fit(points[:1]),
        "baseline": fit(points[1:]),
    }
    return {name: law for name, law in laws.items() if law is not None}


def _to_loss(curve: LearningCurve, values: Array) -> Array:
    """The quantity that falls with tokens: a loss itself, or 100 minus a score."""
    return curve.metric.scale - values if curve.metric.higher_is_better else values


def _fitted(curve: LearningCurve) -> str:
    return "100 - score" if curve.metric.higher_is_better else curve.metric.unit


def _checkpoints(curve: LearningCurve) -> tuple[Checkpoint, ...]:
    return tuple(
        Checkpoint(run, float(tokens), float(value), curve.intervals[index], float(smooth))
        for index, (run, tokens, value, smooth) in enumerate(
            zip(curve.runs, curve.tokens, curve.values, curve.monotone, strict=True)
        )
    )


def _notes(
    curves: tuple[LearningCurve, LearningCurve],
    laws: dict[FitName, ScalingLaw],
    *,
    extrapolate: bool,
) -> list[str]:
    notes = list(curves[0].left_out)
    for name, curve in zip(("hybrid", "baseline"), curves, strict=True):
        if not np.allclose(curve.monotone, curve.values):
            notes.append(f"The {name}'s curve is not monotone; tokens are read off its isotonic regression.")
    if not laws:
        notes.append(
            "No scaling law: each curve needs two checkpoints, and both together five (one curve alone: four)."
        )
    loose = [name for name, law in laws.items() if not law.determined]
    if loose:
        notes.append(
            f"The points do not determine E and β of the {' and '.join(loose)} fit: one lies at an end of its range."
        )
    if extrapolate:
        notes.append(
            "EXTRAPOLATED figures come from the fit beyond the data, as requested with --extrapolate, and are marked."
        )
    return notes
