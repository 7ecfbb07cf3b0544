"""Metrics: which direction is better, and how sample scores become the value of a row."""

from dataclasses import dataclass

from evalkit.records.results import Figure


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, as rows and reports show it."""

    name: str
    higher_is_better: bool = True
    scale: float = 100.0
    """A sample score of 1, in the unit of a row."""
    unit: str = "points"
    weight: str | None = None
    """The measure that weights samples in a row's value; None for equal weights."""

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
    """The metric called `name`: a known loss, or else a score in [0, 1] that is shown as 0-100."""
    return _LOSSES.get(name, Metric(name))


_LOSS_UNITS = frozenset(metric.unit for metric in _LOSSES.values())
_LM_EVAL_LOSSES = frozenset(("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"))
"""Losses among lm-eval's metrics, whose figures have no unit that says so."""


def is_of_loss(figure: Figure) -> bool:
    """Whether a figure is a loss or perplexity, of which lower is better."""
    return figure.unit in _LOSS_UNITS or figure.metric in _LM_EVAL_LOSSES
