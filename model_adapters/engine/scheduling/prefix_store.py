"""Prefix caching: prefixes shared by prompts are read once, kept while memory allows, and continued many times."""

from collections import OrderedDict

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.context import Context


class PrefixStore:
    """Cached prefixes, keyed by their tokens, so that a lookup never returns another or a stale prefix.

    Each prefix has a read-only cache of its own size. The least recently used prefix is evicted first.
    """

    def __init__(self, runner: ModelRunner) -> None:
        self.read = 0
        """Number of times a prefix was read."""
        self.continued = 0
        """Number of requests that continued from a cached prefix."""
        self.tokens_saved = 0
        """Prompt tokens saved: those of the prefixes in all requests, minus those read to fill the cache."""
        self._runner = runner
        self._kept: OrderedDict[tuple[int, ...], Context] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Allocated bytes of all cached prefixes."""
        return sum(context.cache.kv_bytes + context.cache.state_bytes for context in self._kept.values())

    def context(self, token_ids: tuple[int, ...], *, segment_tokens: int, room_bytes: int) -> Context | None:
        """Return the cached prefix, reading it if necessary; None if it exceeds `room_bytes` on its own."""
        found = self._kept.get(token_ids)
        if found is not None:
            self._kept.move_to_end(token_ids)
            return found
        needed_bytes = self.cost_bytes(token_ids)
        if needed_bytes > room_bytes:
            return None
        while self._kept and self.nbytes + needed_bytes > room_bytes:
            self._kept.popitem(last=False)
        cache = self._runner.new_cache(slots=1, max_tokens=len(token_ids))
        context = Context(cache, 0, self._runner.read(cache, 0, token_ids, segment_tokens))
        self._kept[token_ids] = context
        self.read += 1
        self.tokens_saved -= len(token_ids)
        return context

    def count(self, context: Context, requests: int) -> None:
        """Count requests that continue from a cached prefix."""
        self.continued += requests
        self.tokens_saved += requests * context.tokens

    def cost_bytes(self, token_ids: tuple[int, ...]) -> int:
        """Bytes needed to cache a prefix; 0 if it is empty."""
        return self._runner.layout.cost.bytes(len(token_ids)) if token_ids else 0

    def clear(self) -> None:
        """Drop all prefixes, because memory ran out."""
        self._kept.clear()
