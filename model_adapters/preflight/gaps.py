"""How much two computations of the same positions differ, and how much they may differ.

In fp32 the bound is a constant. In half precision it is the error of transformers' own code in the same dtype relative
to fp32, times `ALLOWED_LOSS`: a deep model loses more than any fixed bound would allow and is still correct. In a
mixture of experts, rounding can change which expert is selected when router scores nearly tie, which causes large
errors at a few positions, other ones in each pass. A check that fails for such a model is therefore repeated with the
errors of further passes, each rounded differently: a tie explains a gap only if another rounding causes one as large.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from evalkit.analysis.agreement.rounding import Rounding
from evalkit.records import PreflightCheck
from model_adapters.preflight.trace import Trace

ALLOWED_LOSS = 1.5
MOST_ROUNDINGS = 32
FULL_PRECISION_TOP1 = 0.99
CPU_BOUND = 1e-4
GPU_BOUND = 1e-3
"""Larger than on a CPU, because GPU kernels split fp32 operands into halves (`gated_delta_trial` allows as much)."""
LEAST_BOUND = {torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""About two roundings: a smaller error of a few operators is no measure of the errors of others."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Differences that rounding explains, as root mean squares relative to the values' own."""

    layers: tuple[float, ...]
    """One bound per layer's output; empty if layers are not compared."""
    logits: float
    top1_agreement: float = 0.0

    def at_least(self, other: "Bounds") -> "Bounds":
        """The wider of two bounds, for each layer and figure."""
        layers = tuple(map(max, self.layers, other.layers))
        return Bounds(layers, max(self.logits, other.logits), min(self.top1_agreement, other.top1_agreement))

    def times(self, factor: float) -> "Bounds":
        """These bounds multiplied by a factor."""
        return Bounds(tuple(factor * layer for layer in self.layers), factor * self.logits, self.top1_agreement)


class Reference:
    """Exact results at some positions, and in half precision the results of transformers' own code there."""

    def __init__(
        self,
        model: PreTrainedModel,
        truth: Trace,
        own: Trace | None,
        rounded_otherwise: Callable[[int], Trace] | None = None,
    ) -> None:
        """`truth` is in fp32; `own` is in the run's dtype, or None if that is fp32.

        `rounded_otherwise` recomputes `own` with other rounding, from a seed; needed for mixtures of experts.
        """
        self.truth = truth
        self._own = [] if own is None else [own]
        self._rounded_otherwise = rounded_otherwise
        self._known_bounds: dict[tuple[int, tuple[int, ...]], Bounds] = {}
        """By number of own results and positions."""
        exact = GPU_BOUND if model.device.type == "cuda" else CPU_BOUND
        self._dtype = model.dtype
        self._least_bound = exact if own is None else LEAST_BOUND[model.dtype]

    @property
    def is_exact(self) -> bool:
        """Whether the run is in fp32 as well."""
        return not self._own

    @property
    def bounds(self) -> Bounds:
        """The differences that rounding explains, over all these positions."""
        return self._bounds(range(len(self.truth.logits_TV)))

    def compare(self, name: str, what: str, found: Trace, positions: Sequence[int]) -> PreflightCheck:
        """Check the engine's trace of some positions; NaN is never within bounds."""
        truth = self.truth.rows(positions)
        while True:
            # Rounding at these positions may be worse than over all positions, or the other way round.
            check = compare(name, what, found, truth, self.bounds.at_least(self._bounds(positions)))
            if check.outcome == "pass" or self._rounded_otherwise is None or len(self._own) >= MOST_ROUNDINGS:
                return check
            self._own.append(self._rounded_otherwise(len(self._own)))

    def rounding(self, token_ids: Sequence[int]) -> Rounding:
        """The rounding error of the positions' log-probabilities, for `token_ids` as the text of this reference."""
        truth_TV = self.truth.logits_TV
        scale = float((truth_TV - truth_TV.mean(dim=-1, keepdim=True)).square().mean().sqrt())
        tokens, margins = [], []
        for own in self._own:
            tokens += _gaps(own.logits_TV, truth_TV, torch.tensor(token_ids[1:], device=truth_TV.device)[:, None])
            margins += _gaps(own.logits_TV, truth_TV, truth_TV.topk(2).indices)
        return Rounding(
            token_gaps=tuple(tokens),
            margin_gaps=tuple(margins),
            least=self._least_bound * scale,
            allowed=ALLOWED_LOSS,
            dtype=str(self._dtype).removeprefix("torch."),
        )

    def _bounds(self, positions: Sequence[int]) -> Bounds:
        key = len(self._own), tuple(positions)
        if key not in self._known_bounds:
            self._known_bounds[key] = self._measure_bounds(positions)
        return self._known_bounds[key]

    def _measure_bounds(self, positions: Sequence[int]) -> Bounds:
        layers = len(self.truth.layers_TD)
        if not self._own:
            return Bounds((self._least_bound,) * layers, self._least_bound, FULL_PRECISION_TOP1)
        bounds, truth = Bounds((self._least_bound,) * layers, self._least_bound), self.truth.rows(positions)
        for own in (trace.rows(positions) for trace in self._own):
            pairs = zip(own.layers_TD, truth.layers_TD, strict=True)
            lost = Bounds(tuple(relative_gap(*pair) for pair in pairs), logit_gap(own.logits_TV, truth.logits_TV))
            bounds = bounds.at_least(lost.times(ALLOWED_LOSS))
        return bounds


def compare(name: str, what: str, found: Trace, expected: Trace, bounds: Bounds) -> PreflightCheck:
    """Check logits [T, V], and name the first layer that differs."""
    found = found.to(expected.logits_TV.device)
    departing = next(
        (
            index
            for index, (one, other) in enumerate(zip(found.layers_TD, expected.layers_TD, strict=False))
            if not relative_gap(one, other) <= bounds.layers[index]
        ),
        None,
    )
    found_TV, expected_TV = found.logits_TV, expected.logits_TV
    gap = logit_gap(found_TV, expected_TV)
    largest = float((found_TV - expected_TV).abs().max())
    agreement = float((found_TV.argmax(-1) == expected_TV.argmax(-1)).float().mean())
    holds = gap <= bounds.logits and agreement >= bounds.top1_agreement and departing is None
    where = "" if departing is None else f"; layer {departing} is the first to depart"
    allowed = f"{bounds.logits:.1e} allowed"
    return PreflightCheck(
        name=name,
        outcome="pass" if holds else "stop",
        statement=f"{what}: relative gap {gap:.1e} ({allowed}), top-1 agreement {agreement:.1%}{where}",
        logit_gap=_finite(largest),
        relative_gap=_finite(gap),
        bound=_finite(bounds.logits),
        top1_agreement=agreement,
        first_departing_layer=departing,
    )


def logit_gap(found_TV: torch.Tensor, expected_TV: torch.Tensor) -> float:
    """Relative gap of logits after subtracting each position's mean logit, which does not affect probabilities."""
    mean_T1 = expected_TV.mean(dim=-1, keepdim=True)
    return relative_gap(found_TV - mean_T1, expected_TV - mean_T1)


def relative_gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the differences, relative to that of the expected values."""
    scale = float(expected.square().mean().sqrt())
    return float((found - expected).square().mean().sqrt()) / max(scale, 1e-12)


def _gaps(found_TV: torch.Tensor, expected_TV: torch.Tensor, id_TK: torch.Tensor) -> list[float]:
    """Absolute differences of log-probabilities of K = 1 token per position; for K = 2, of the pair's difference."""
    positions = len(id_TK)
    picked = [logits.log_softmax(-1)[:positions].gather(1, id_TK) for logits in (found_TV, expected_TV)]
    found_TK, expected_TK = picked if id_TK.shape[1] == 1 else [each[:, :1] - each[:, 1:] for each in picked]
    return (found_TK - expected_TK).abs().flatten().tolist()


def _finite(value: float) -> float | None:
    """None for NaN and infinities, which JSON cannot represent."""
    return value if abs(value) < float("inf") else None
