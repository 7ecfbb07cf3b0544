"""The effective length: the largest context length at which a rule and the rule at all smaller lengths hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from evalkit.statistics.intervals import CONFIDENCE, Interval

FIXED_SCORE = 85.6
"""Llama-2-7B-chat at 4,096 tokens: the score of an effective length by RULER's rule (arXiv 2404.06654)."""
OWN_SHARE = 0.85
"""Share of the score at the shortest length that an effective length keeps."""


class Margin(Protocol):
    """Margin of a length over its rule, which holds if the true margin is above 0."""

    @property
    def mean(self) -> float: ...

    def interval(self, confidence: float = CONFIDENCE) -> Interval | None: ...


@dataclass(frozen=True, slots=True)
class EffectiveLength:
    """An effective length in tokens; 0 means less than the shortest length."""

    tokens: int
    low: int
    high: int
    """The 95 % interval is [low, high]."""


def effective_length(margins: Mapping[int, Margin]) -> EffectiveLength | None:
    """The effective length over the lengths of `margins`; None without any.

    That all lengths up to `low` pass is an intersection of claims, each of which holds at 97.5 %, and so do they
    together (Berger 1982). That some length past `high` fails is a union, so its claims share the 2.5 % (Bonferroni).
    """
    if not margins:
        return None
    shared = 1 - (1 - CONFIDENCE) / len(margins)
    return EffectiveLength(
        tokens=_leading(margins, lambda margin: margin.mean > 0),
        low=_leading(margins, lambda margin: _interval(margin, CONFIDENCE)[0] > 0),
        high=_leading(margins, lambda margin: _interval(margin, shared)[1] > 0),
    )


def _interval(margin: Margin, confidence: float) -> Interval:
    """The interval, or the whole line if the samples give none."""
    return margin.interval(confidence) or (float("-inf"), float("inf"))


def _leading(margins: Mapping[int, Margin], passes: Callable[[Margin], bool]) -> int:
    last = 0
    for ctx in sorted(margins):
        if not passes(margins[ctx]):
            break
        last = ctx
    return last
