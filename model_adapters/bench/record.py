"""Measurements as records: one row for each thing measured by one implementation, one record for a run of the bench."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """Repeated measurements of one quantity, in seconds."""

    median_seconds: float
    first_quartile_seconds: float
    third_quartile_seconds: float
    repeats: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        """Median and quartiles (linear between measurements) of one measurement or more."""
        ordered = list(seconds)
        if len(ordered) == 1:
            return cls(ordered[0], ordered[0], ordered[0], 1)
        first, median, third = statistics.quantiles(ordered, n=4, method="inclusive")
        return cls(median, first, third, len(ordered))

    @property
    def spread(self) -> float:
        """The interquartile range as a fraction of the median."""
        return (self.third_quartile_seconds - self.first_quartile_seconds) / self.median_seconds


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Performance that a device reached in this run."""

    product_flops: float
    """Operations per second of a large matrix product; a multiply-add counts as two."""
    copy_bytes_per_second: float
    """Bytes read plus bytes written of a large copy."""
    method: str
    attention_flops: float | None = None
    """Operations per second of a large attention without a mask, by the fastest of PyTorch's kernels."""
    read_bytes_per_second: float | None = None
    """Bytes that are only read, by the faster of a sum and a product with a vector."""

    @property
    def reading(self) -> float:
        """Bytes per second of what is only read: no slower than a copy, and a copy's rate if it was not measured."""
        return max(self.copy_bytes_per_second, self.read_bytes_per_second or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One measurement of one implementation, or the reason why it failed."""

    what: str
    """`prefill`, `decode`, `suite`, or a kernel's name."""
    case: str
    """Sizes, as readable text."""
    by: str
    """`evalkit`, or the implementation it is compared with."""
    tokens: int = 0
    """Number of new tokens in that time."""
    timing: Timing | None = None
    floor_seconds: float | None = None
    """Time of the necessary work at the rates of the device."""
    peak_bytes_above: int | None = None
    """Peak memory beyond weights and KV cache."""
    details: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None

    @property
    def over_floor(self) -> float | None:
        """The median as a multiple of the floor."""
        if self.timing is None or not self.floor_seconds:
            return None
        return self.timing.median_seconds / self.floor_seconds

    @property
    def tokens_per_second(self) -> float | None:
        if self.timing is None or not self.tokens:
            return None
        return self.tokens / self.timing.median_seconds

    def to_json(self) -> dict[str, Any]:
        """The fields and the values derived from them."""
        return {**asdict(self), "over_floor": self.over_floor, "tokens_per_second": self.tokens_per_second}


@dataclass(slots=True)
class BenchRecord:
    """A run of the bench; it grows while the run goes on, so that what was measured survives an early end."""

    mode: str
    model: str
    device: str
    dtype: str
    seed: int
    versions: dict[str, str]
    options: dict[str, Any]
    ceilings: Ceilings | None = None
    rows: list[BenchRow] = field(default_factory=list)
    seconds: float = 0.0
    """Duration of the whole run, loading included."""
    stopped_early: bool = False
    """Whether the time budget ended before everything was measured."""

    def to_json(self) -> dict[str, Any]:
        rest = {name: getattr(self, name) for name in ("mode", "model", "device", "dtype", "seed", "versions")}
        return {
            "schema": SCHEMA,
            **rest,
            "options": self.options,
            "ceilings": None if self.ceilings is None else asdict(self.ceilings),
            "rows": [row.to_json() for row in self.rows],
            "seconds": self.seconds,
            "stopped_early": self.stopped_early,
        }
