"""The prompts of a comparison: whole ones, ones that share a beginning, and ones that end at a border."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

TAIL_TOKENS = 64
"""End of a prompt, with its question, that a changed prompt keeps."""
_SEAMS = 48
"""Places that are tried for a seam that text can spell."""
WHOLE, SHARED = "whole prompts", "prompts that share a beginning"

TokenIds = tuple[int, ...]
Spelled = Callable[[TokenIds], bool]
"""Whether a text exists that is tokenized as these tokens, so that a server that takes only text can read them."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt of a comparison."""

    name: str
    group: str
    ctx: int
    """Context length for which the prompt was made."""
    token_ids: TokenIds
    new_tokens: int
    """Maximum length of the answer."""


def make_probes(prompts: Sequence[Probe], blocks: Mapping[str, int], spelled: Spelled) -> list[Probe]:
    """The prompts of one context length, then those that share their beginnings, then those that end at borders.

    `blocks` maps names to the sizes of segments or cache blocks: prompts end at, one before and one after the last
    multiple of each, and the last power of two.
    """
    return [*prompts, *_shared(prompts, spelled), *_at_borders(prompts, blocks, spelled)]


def _shared(prompts: Sequence[Probe], spelled: Spelled) -> Iterator[Probe]:
    """Each prompt with another's question: a stale cached prefix, or a cached answer, would answer the first."""
    if len(prompts) < 2:
        return
    for prompt, other in zip(prompts, [*prompts[1:], prompts[0]], strict=True):
        ids = _joined(prompt.token_ids, other.token_ids, len(prompt.token_ids), spelled)
        if ids is not None and ids != prompt.token_ids:
            yield Probe(f"{prompt.name}, other question", SHARED, prompt.ctx, ids, prompt.new_tokens)


def _at_borders(prompts: Sequence[Probe], blocks: Mapping[str, int], spelled: Spelled) -> Iterator[Probe]:
    """A different prompt for each border; a shortened prompt keeps its beginning and its question."""
    made: set[int] = set()
    for place, (name, border) in enumerate(borders(min(len(p.token_ids) for p in prompts), blocks).items()):
        prompt = prompts[place % len(prompts)]
        for length in (border - 1, border, border + 1):
            ids = _joined(prompt.token_ids, prompt.token_ids, length, spelled)
            if length not in made and ids is not None:
                made.add(length)
                group = f"ends at, before and after: {name}"
                yield Probe(f"{prompt.name}, cut to {length:,}", group, prompt.ctx, ids, prompt.new_tokens)


def borders(tokens: int, blocks: Mapping[str, int]) -> dict[str, int]:
    """The last border below `tokens` of each kind, at which a changed prompt can end."""
    found = {name: (tokens - 1) // size * size for name, size in blocks.items()}
    found["power of two"] = 1 << ((tokens - 1).bit_length() - 1) if tokens > 1 else 0
    return {name: border for name, border in found.items() if border > 2 * TAIL_TOKENS}


def _joined(first: TokenIds, last: TokenIds, length: int, spelled: Spelled) -> TokenIds | None:
    """`length` tokens that begin as `first` and end as `last`, with a seam that text can spell if there is one."""
    made = [
        (*first[: length - tail], *last[-tail:])
        for tail in range(TAIL_TOKENS, min(TAIL_TOKENS + _SEAMS, length, len(last)))
    ]
    return next((ids for ids in made if spelled(ids)), made[0] if made else None)
