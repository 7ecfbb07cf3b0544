"""Loss by position in long documents, which shows whether late tokens still profit from the context."""

import math
from collections.abc import Sequence
from operator import attrgetter

from evalkit.records import Figure, PositionSums, SampleRecord
from evalkit.statistics.rows import loss_figure

LONG_TEXT = "long_text"
SHORT_TEXT = "short_text"
BUCKETS = 32
LEAST_WIDTH = 64


def bucket_width(ctx: int) -> int:
    """Tokens per bucket of positions."""
    return max(LEAST_WIDTH, ctx // BUCKETS)


def sums_by_position(
    nats: Sequence[float], token_bytes: Sequence[int], first_position: int, ctx: int
) -> tuple[PositionSums, ...]:
    """Sums by bucket of position; `nats` are of the tokens from `first_position` on, `token_bytes` their lengths."""
    width = bucket_width(ctx)
    buckets: dict[int, list[int]] = {}
    for place in range(len(nats)):
        buckets.setdefault((first_position + place) // width * width, []).append(place)
    return tuple(
        PositionSums(
            first=start,
            end=start + width,
            nats=math.fsum(nats[place] for place in places),
            tokens=len(places),
            bytes=sum(token_bytes[place] for place in places),
        )
        for start, places in buckets.items()
    )


def mean_nats(sums: Sequence[PositionSums], first: int, end: int) -> float | None:
    """Nats per token over the buckets that lie in [first, end); None if there is none."""
    inside = [bucket for bucket in sums if first <= bucket.first and bucket.end <= end]
    tokens = sum(bucket.tokens for bucket in inside)
    return math.fsum(bucket.nats for bucket in inside) / tokens if tokens else None


def position_figures(records: Sequence[SampleRecord]) -> list[Figure]:
    """`position_nats` and `position_bits` by bucket, with intervals over the documents."""
    buckets: dict[tuple[int, int], list[PositionSums]] = {}
    for record in records:
        for bucket in record.positions:
            buckets.setdefault((bucket.first, bucket.end), []).append(bucket)
    return [
        loss_figure(name, unit, [scale * one.nats for one in here], [float(below(one)) for one in here], position=place)
        for name, unit, scale, below in (
            ("position_nats", "nats per token", 1.0, attrgetter("tokens")),
            ("position_bits", "bits per byte", 1 / math.log(2), attrgetter("bytes")),
        )
        for place, here in sorted(buckets.items())
    ]
