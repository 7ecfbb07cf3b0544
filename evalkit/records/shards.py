"""Records of a run that is split into shards, each answered by a process of its own into a folder of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from evalkit.records.samples import SampleKey


@dataclass(frozen=True, slots=True)
class KeySpan:
    """Samples of one task, length and seed with consecutive indexes."""

    task: str
    ctx: int
    seed: int
    first: int
    end: int
    """The last index, plus 1."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the `count` parts of a run, which have no sample in common and together are the whole run."""

    number: int
    """From 1 to `count`."""
    count: int
    plan: tuple[KeySpan, ...] = ()
    """The samples of the whole run in its order, from which merged shards get theirs; empty before it is known."""

    @property
    def name(self) -> str:
        """As in --shard: `3/8`."""
        return f"{self.number}/{self.count}"

    @property
    def label(self) -> str:
        """For readers: `shard 3 of 8`."""
        return f"shard {self.number} of {self.count}"

    @property
    def planned(self) -> int:
        """Number of samples of the whole run."""
        return sum(span.end - span.first for span in self.plan)


def spans_of(keys: Iterable[SampleKey]) -> tuple[KeySpan, ...]:
    """Sample keys in their order, shortened to spans."""
    numbered = enumerate(keys)
    # Within a span the index and the place in the order grow together.
    runs = groupby(numbered, key=lambda item: (item[1].task, item[1].ctx, item[1].seed, item[1].index - item[0]))
    spans = []
    for (task, ctx, seed, _), items in runs:
        indexes = [key.index for _, key in items]
        spans.append(KeySpan(task, ctx, seed, indexes[0], indexes[-1] + 1))
    return tuple(spans)


def keys_of(spans: Iterable[KeySpan]) -> tuple[SampleKey, ...]:
    """The sample keys that were shortened to `spans`."""
    return tuple(
        SampleKey(span.task, span.ctx, index, span.seed) for span in spans for index in range(span.first, span.end)
    )
