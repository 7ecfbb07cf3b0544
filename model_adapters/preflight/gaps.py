"""How far two computations of the same positions are apart, and how far they may be."""

from dataclasses import dataclass

import torch

from evalkit.records import PreflightCheck
from model_adapters.preflight.trace import Trace


@dataclass(frozen=True, slots=True)
class Bounds:
    """What rounding explains; differences are root mean squares, relative to those of the values themselves."""

    layer: float
    logits: float
    top1_agreement: float


BOUNDS = {
    torch.float32: Bounds(layer=1e-3, logits=1e-3, top1_agreement=0.99),
    # 8 bits of mantissa, rounded at every step of every layer.
    torch.bfloat16: Bounds(layer=0.1, logits=0.1, top1_agreement=0.8),
    torch.float16: Bounds(layer=0.05, logits=0.05, top1_agreement=0.9),
}


def compare_traces(name: str, what: str, found: Trace, expected: Trace, bounds: Bounds) -> PreflightCheck:
    """A check of logits, which also says at which layer they begin to differ."""
    departing = next(
        (
            index
            for index, (one, other) in enumerate(zip(found.layers_TD, expected.layers_TD, strict=True))
            if not relative_gap(one, other) <= bounds.layer
        ),
        None,
    )
    return compare_logits(name, what, found.logits_TV, expected.logits_TV, bounds, departing)


def compare_logits(
    name: str,
    what: str,
    found_TV: torch.Tensor,
    expected_TV: torch.Tensor,
    bounds: Bounds,
    departing_layer: int | None = None,
) -> PreflightCheck:
    """A check of logits [T, V]; NaN is never within bounds."""
    # What all logits of a position share changes no probability.
    centered = expected_TV - expected_TV.mean(dim=-1, keepdim=True)
    gap = relative_gap(found_TV - expected_TV.mean(dim=-1, keepdim=True), centered)
    largest = float((found_TV - expected_TV).abs().max())
    agreement = float((found_TV.argmax(-1) == expected_TV.argmax(-1)).float().mean())
    holds = gap <= bounds.logits and agreement >= bounds.top1_agreement and departing_layer is None
    where = "" if departing_layer is None else f"; layer {departing_layer} is the first to depart"
    return PreflightCheck(
        name=name,
        outcome="pass" if holds else "stop",
        statement=f"{what}: relative gap {gap:.1e} ({bounds.logits:g} allowed), top-1 agreement {agreement:.1%}{where}",
        logit_gap=_finite(largest),
        relative_gap=_finite(gap),
        bound=bounds.logits,
        top1_agreement=agreement,
        first_departing_layer=departing_layer,
    )


def relative_gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the differences, relative to that of the expected values."""
    scale = float(expected.square().mean().sqrt())
    return float((found - expected).square().mean().sqrt()) / max(scale, 1e-12)


def _finite(value: float) -> float | None:
    """None for NaN and infinities, which JSON has not."""
    return value if abs(value) < float("inf") else None
