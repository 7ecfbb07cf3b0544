"""What all intervals share."""

Interval = tuple[float, float]

CONFIDENCE = 0.95
