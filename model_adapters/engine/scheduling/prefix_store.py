"""Prefixes that prompts share: read once, kept as far as memory allows, and continued any number of times."""

from collections import OrderedDict

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.context import Context


class PrefixStore:
    """Contexts by the tokens that were read, so that what is found can never be another prefix, or a stale one.

    Each has a cache of its own size, which nothing writes to afterwards. The least recently used go first.
    """

    def __init__(self, runner: ModelRunner) -> None:
        self.read = 0
        """Times that a prefix had to be read."""
        self.continued = 0
        """Requests that went on from a kept prefix."""
        self.tokens_saved = 0
        """Prompt tokens of those requests that were not read for them, less those of the prefixes."""
        self._runner = runner
        self._kept: OrderedDict[tuple[int, ...], Context] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Allocated bytes of all kept prefixes."""
        return sum(context.cache.kv_bytes + context.cache.state_bytes for context in self._kept.values())

    def context(self, token_ids: tuple[int, ...], *, segment_tokens: int, room_bytes: int) -> Context | None:
        """The prefix, read now if it is not kept; None where it alone is larger than the room for all of them."""
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
        """Note that some requests go on from a kept prefix."""
        self.continued += requests
        self.tokens_saved += requests * context.tokens

    def cost_bytes(self, token_ids: tuple[int, ...]) -> int:
        """What keeping a prefix takes; nothing where there is none."""
        return self._runner.layout.cost.bytes(len(token_ids)) if token_ids else 0

    def clear(self) -> None:
        """Forget all prefixes, because memory ran out."""
        self._kept.clear()
