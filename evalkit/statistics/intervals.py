"""The confidence level of all intervals."""

from evalkit.records.results import Interval

__all__ = ["CONFIDENCE", "Interval"]

CONFIDENCE = 0.95
