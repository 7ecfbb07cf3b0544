"""A model behind a server, with faults that served engines have had."""

import threading
from collections.abc import Callable
from typing import Any

from evalkit.records import Completion, Request
from evalkit.running.protocols import Adapter
from tests.model_adapters.served.fake_server import FakeServer

CHUNK = 96
Fault = Callable[["StandIn", list[int]], list[list[int]]]
"""From a prompt to the pieces that the model reads, each with a fresh state."""


class StandIn:
    """Answers a fake server's requests with an adapter, one after another, with one fault at a time."""

    def __init__(self, adapter: Adapter, fake: FakeServer) -> None:
        self.adapter, self.fake = adapter, fake
        self.fault: Fault = whole
        self.gives_ids = True
        self._lock = threading.Lock()
        self._cached: dict[tuple[int, ...], list[int]] = {}
        fake.complete = self._complete

    def _complete(self, body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        with self._lock:
            pieces = self.fault(self, ids)
            if body.get("echo"):
                return {"text": "", "finish_reason": "length", "logprobs": self._scores(pieces)}
            found = self._ask(Request("answer", tuple(pieces[-1]), body["max_tokens"]))
        choice: dict[str, Any] = {"text": found.text, "finish_reason": found.finish_reason}
        if self.gives_ids and body.get("return_token_ids"):
            with self._lock:
                read = (*pieces[-1], *(found.token_ids or ()))
                scored = self._ask(Request("own", read, 0, scored_from=len(pieces[-1])))
            choice["token_ids"] = list(found.token_ids or ())
            choice["logprobs"] = {"token_logprobs": list(scored.log_probabilities or ())}
        return choice

    def _scores(self, pieces: list[list[int]]) -> dict[str, Any]:
        values: list[float | None] = []
        for piece in pieces:
            scored = self._ask(Request("score", tuple(piece), 0, scored_from=1))
            # A piece's first token has nothing before it.
            values += [-9.0 if values else None, *(scored.log_probabilities or ())]
        return {"token_logprobs": [*values, -1.0], "top_logprobs": [None, *[{"x": 0.0}] * len(values)]}

    def _ask(self, request: Request) -> Completion:
        (completion,) = self.adapter.generate([request])
        assert completion.error is None
        return completion


def whole(_: StandIn, ids: list[int]) -> list[list[int]]:
    """No fault."""
    return [ids]


def state_lost_at_chunks(_: StandIn, ids: list[int]) -> list[list[int]]:
    """The state is lost at every border of CHUNK tokens."""
    return [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]


def stale_prefix(server: StandIn, ids: list[int]) -> list[list[int]]:
    """A prompt that begins as an earlier one of its length gets that one's answer."""
    return [server._cached.setdefault((len(ids), *ids[: len(ids) // 2]), ids)]


def wrong_under_load(server: StandIn, ids: list[int]) -> list[list[int]]:
    """Beside another request, the middle of the prompt is overwritten."""
    third = len(ids) // 3
    return [[*ids[:third], *ids[:third], *ids[2 * third :]]] if server.fake.at_once > 1 else [ids]


def shifted_by_bos(_: StandIn, ids: list[int]) -> list[list[int]]:
    """A second BOS is read, and the last token is not."""
    return [[ids[0], *ids[:-1]]]
