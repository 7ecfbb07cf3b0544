"""How much a model thought, and how its thoughts ended, by context length."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from evalkit.records import Figure, SampleRecord

TOKENS = "thought_tokens"
"""Name of the figure with the mean number of tokens before an answer."""
ENDS = {"forced": "thoughts_forced", "unclosed": "thoughts_unclosed", "absent": "thoughts_absent"}
"""How a thought ended -> name of the figure with the share of samples, in percent."""


def is_of_thoughts(figure: Figure) -> bool:
    """Whether a figure is about thoughts, not about answers."""
    return figure.name == TOKENS or figure.name in ENDS.values()


def thought_figures(samples: Iterable[SampleRecord]) -> tuple[Figure, ...]:
    """The figures of each context length with samples that were answered after a thought, or could have been."""
    by_ctx: dict[int, list[SampleRecord]] = defaultdict(list)
    for sample in samples:
        if sample.thought_end is not None:
            by_ctx[sample.ctx].append(sample)
    return tuple(figure for ctx in sorted(by_ctx) for figure in _of_length(ctx or None, by_ctx[ctx]))


def _of_length(ctx: int | None, samples: Sequence[SampleRecord]) -> Iterable[Figure]:
    count = len(samples)
    mean = sum(sample.thought_tokens or 0 for sample in samples) / count
    yield Figure(TOKENS, mean, "new tokens", n=count, ctx=ctx)
    for end, name in ENDS.items():
        share = 100 * sum(sample.thought_end == end for sample in samples) / count
        yield Figure(name, share, "%", n=count, ctx=ctx)
