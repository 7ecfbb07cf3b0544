"""Prefix caching: prefixes shared by prompts are read once, kept while memory allows, and continued many times."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from model_adapters.engine.forward.model_runner import ModelRunner, with_hidden
from model_adapters.engine.memory.context import Context

TokenIds = tuple[int, ...]

LOOSE_SHARE = 0.25
"""Share of the memory for prefixes that one cache may take however much of it short prefixes leave unused."""


class PrefixStore:
    """Cached prefixes, keyed by their tokens, so that a lookup never returns another or a stale prefix.

    Prefixes that are read together share a read-only cache; a longer one has a cache of its own. The least recently
    used prefix is evicted first.
    """

    def __init__(self, runner: ModelRunner) -> None:
        self.read = 0
        """Number of times a prefix was read."""
        self.continued = 0
        """Number of requests that continued from a cached prefix."""
        self.tokens_saved = 0
        """Prompt tokens saved: those of the prefixes in all requests, minus those read to fill the cache."""
        self._runner = runner
        self._kept: OrderedDict[TokenIds, Context] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Allocated bytes of all cached prefixes."""
        caches = {id(context.cache): context.cache for context in self._kept.values()}
        return sum(cache.kv_bytes + cache.state_bytes for cache in caches.values())

    def context(self, token_ids: TokenIds, *, segment_tokens: int, room_bytes: int) -> Context | None:
        """Return the cached prefix, reading it if necessary; None if it exceeds `room_bytes` on its own."""
        if token_ids not in self._kept:
            if self.cost_bytes(token_ids) > room_bytes:
                return None
            self._evict(room_bytes - self.cost_bytes(token_ids))
            cache = self._runner.new_cache(slots=1, max_tokens=len(token_ids))
            self._keep(token_ids, Context(cache, 0, self._runner.read(cache, 0, token_ids, segment_tokens)))
        self._kept.move_to_end(token_ids)
        return self._kept[token_ids]

    def read_together(self, prefixes: Sequence[TokenIds], *, pass_tokens: int, room_bytes: int) -> None:
        """Read the prefixes that are not cached, short ones into one cache if it fits, and in passes that they share.

        What needs a cache of its own, or does not fit into `room_bytes` with others, is left to `context`.
        """
        missing = [prefix for prefix in dict.fromkeys(prefixes) if prefix not in self._kept]
        for prefix in set(prefixes).intersection(self._kept):
            self._kept.move_to_end(prefix)
        short = [prefix for prefix in missing if len(prefix) <= pass_tokens]
        for together in shared_caches(short, self.cost_bytes, loose_bytes=int(LOOSE_SHARE * room_bytes)):
            longest = together[-1]
            needed_bytes = len(together) * self.cost_bytes(longest)
            if len(together) > 1 and needed_bytes <= room_bytes:
                self._evict(room_bytes - needed_bytes)
                cache = self._runner.new_cache(slots=len(together), max_tokens=len(longest))
                for slots in shared_passes(together, pass_tokens):
                    output = self._runner.read_together(cache, slots.start, [together[slot] for slot in slots])
                    for place, slot in enumerate(slots):
                        last = with_hidden(output, output.last_hidden_state[:, place : place + 1].clone())
                        self._keep(together[slot], Context(cache, slot, last))

    def count(self, context: Context, requests: int) -> None:
        """Count requests that continue from a cached prefix."""
        self.continued += requests
        self.tokens_saved += requests * context.tokens

    def cost_bytes(self, token_ids: TokenIds) -> int:
        """Bytes needed to cache a prefix; 0 if it is empty."""
        return self._runner.layout.cost.bytes(len(token_ids)) if token_ids else 0

    def clear(self) -> None:
        """Drop all prefixes, because memory ran out."""
        self._kept.clear()

    def _keep(self, token_ids: TokenIds, context: Context) -> None:
        self._kept[token_ids] = context
        self.read += 1
        self.tokens_saved -= len(token_ids)

    def _evict(self, allowed_bytes: int) -> None:
        while self._kept and self.nbytes > allowed_bytes:
            self._kept.popitem(last=False)


def shared_caches(
    prefixes: Sequence[TokenIds], cost_bytes: Callable[[TokenIds], int], *, loose_bytes: int
) -> Iterator[list[TokenIds]]:
    """Group prefixes, sorted by length, into caches whose slots are as long as their longest prefix.

    A cache takes at most twice the memory that its prefixes need, or `loose_bytes`. Texts that continue prefixes of one
    cache share a pass.
    """
    together: list[TokenIds] = []
    needed = 0
    for prefix in sorted(prefixes, key=len):
        cost = cost_bytes(prefix)
        if together and (len(together) + 1) * cost > max(2 * (needed + cost), loose_bytes):
            yield together
            together, needed = [], 0
        together.append(prefix)
        needed += cost
    if together:
        yield together


def shared_passes(prefixes: Sequence[TokenIds], pass_tokens: int) -> Iterator[range]:
    """Divide prefixes in order into passes of at most `pass_tokens` tokens, as ranges of indices."""
    first, tokens = 0, 0
    for index, prefix in enumerate(prefixes):
        if tokens and tokens + len(prefix) > pass_tokens:
            yield range(first, index)
            first, tokens = index, 0
        tokens += len(prefix)
    if prefixes:
        yield range(first, len(prefixes))
