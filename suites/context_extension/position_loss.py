"""Loss by position in long documents, which shows whether late tokens still profit from the context."""

import math
from collections.abc import Mapping, Sequence

from evalkit.records import Figure, SampleRecord
from evalkit.statistics.rows import loss_figure

LONG_TEXT = "long_text"
SHORT_TEXT = "short_text"
BUCKETS = 32
LEAST_WIDTH = 64


def bucket_width(ctx: int) -> int:
    """Tokens per bucket of positions."""
    return max(LEAST_WIDTH, ctx // BUCKETS)


def bucket_measures(
    nats: Sequence[float], token_bytes: Sequence[int], first_position: int, ctx: int
) -> dict[str, float]:
    """Sums by bucket of position, as `nats@<start>`, `tokens@<start>` and `bytes@<start>`.

    `nats` are those of the tokens from `first_position` on, `token_bytes` their lengths in bytes.
    """
    width = bucket_width(ctx)
    sums: dict[str, float] = {}
    for position, (value, size) in enumerate(zip(nats, token_bytes, strict=True), start=first_position):
        start = position // width * width
        for name, part in (("nats", value), ("tokens", 1.0), ("bytes", float(size))):
            sums[f"{name}@{start}"] = sums.get(f"{name}@{start}", 0.0) + part
    return sums


def starts(measures: Mapping[str, float]) -> list[int]:
    """Starts of the buckets of a window."""
    return sorted(int(name.removeprefix("tokens@")) for name in measures if name.startswith("tokens@"))


def mean_nats(measures: Mapping[str, float], first: int, end: int, width: int) -> float | None:
    """Nats per token over the buckets in [first, end); None if there are none."""
    inside = [start for start in starts(measures) if first <= start and start + width <= end]
    tokens = math.fsum(measures[f"tokens@{start}"] for start in inside)
    return math.fsum(measures[f"nats@{start}"] for start in inside) / tokens if tokens else None


def position_figures(records: Sequence[SampleRecord], ctx: int) -> list[Figure]:
    """`position_nats` and `position_bits` by bucket, with intervals over the documents."""
    scored = [record.measures for record in records if record.task == LONG_TEXT and record.score is not None]
    width = bucket_width(ctx)
    figures = []
    for kind, unit, below, scale in (
        ("nats", "nats per token", "tokens", 1.0),
        ("bits", "bits per byte", "bytes", 1 / math.log(2)),
    ):
        for start in sorted({start for measures in scored for start in starts(measures)}):
            here = [measures for measures in scored if f"tokens@{start}" in measures]
            numerators = [scale * measures[f"nats@{start}"] for measures in here]
            denominators = [measures[f"{below}@{start}"] for measures in here]
            place = (start, start + width)
            figures.append(loss_figure(f"position_{kind}", unit, numerators, denominators, position=place))
    return figures
