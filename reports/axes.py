"""Scales, ticks and short numbers for charts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

TICKS = 6
"""Approximate maximum number of ticks per axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @staticmethod
    def over(values: Sequence[float], start: float, end: float, *, log: bool = False) -> "Scale":
        """The scale that just contains `values`; a single value is in its middle."""
        low, high = min(values), max(values)
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
        return Scale(low, high, start, end, log)

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers on the scale: multiples of 1, 2 or 5 times a power of ten; if logarithmic, these themselves."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            return [k * 10.0**d for d in decades for k in (1, 2, 5) if self.low <= k * 10.0**d <= self.high]
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
        return [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def short_number(value: float) -> str:
    """A number in short form: 1.5B, 12.3M, 4.1K."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:,.3g}{suffix}" if abs(value) < 1000 * size else f"{value / size:,.0f}{suffix}"
    return f"{value:.0f}"


def tick_label(value: float) -> str:
    """A label for a tick: the whole number up to a million, shortened beyond."""
    return short_number(value) if abs(value) >= 1e6 else f"{value:,.10g}"
