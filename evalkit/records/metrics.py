"""What a metric's numbers mean: which way is better, and how a sample's score becomes a row's value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as rows and reports show it."""

    name: str
    higher_is_better: bool = True
    scale: float = 100.0
    """What a sample score of 1 is in a row's unit."""
    unit: str = "points"
    weight: str | None = None
    """The measure by which samples weigh in a row's value; None where they weigh alike."""

    @property
    def bounded(self) -> bool:
        """Whether a sample's score is in [0, 1]."""
        return self.higher_is_better


_LOSSES = {
    metric.name: metric
    for metric in (
        Metric("bits_per_byte", higher_is_better=False, scale=1.0, unit="bits per byte", weight="bytes"),
        Metric("nats_per_token", higher_is_better=False, scale=1.0, unit="nats per token", weight="tokens"),
    )
}


def metric_of(name: str) -> Metric:
    """The metric called `name`; whatever is not a known loss is a score in [0, 1], shown as 0-100."""
    return _LOSSES.get(name, Metric(name))
