"""Confidence level and unit of intervals."""

from evalkit.records.results import Interval

__all__ = ["CONFIDENCE", "Interval", "scaled"]

CONFIDENCE = 0.95


def scaled(interval: Interval | None, scale: float) -> Interval | None:
    """The interval in another unit; None if there is none."""
    return None if interval is None else (scale * interval[0], scale * interval[1])
