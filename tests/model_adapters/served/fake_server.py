"""A completions server whose answers and failures a test chooses."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[[dict[str, Any], int], "tuple[int, dict[str, str]] | str | None"]
"""From a request and how often it has come before to a status with headers, "drop" the connection, or None."""


@dataclass
class FakeServer:
    """The server's settings; every field may be changed while it runs."""

    url: str
    model: str = "served"
    listing: dict[str, Any] = field(default_factory=dict)
    """Additional fields of the model's entry in /v1/models."""
    pages: dict[str, Any] = field(default_factory=lambda: {"/version": {"version": "1.2"}})
    """JSON at further paths."""
    takes_ids: bool = True
    tokenize: Callable[[str], list[int]] = lambda text: list(text.encode())
    gives_log_probabilities: bool = True
    fault: Fault = lambda body, before: None
    reply: Callable[[list[int]], dict[str, Any]] = lambda ids: {}
    """Changes to the answer: `text`, `finish_reason`, `prompt_tokens`, `completion_tokens`, `model`."""
    complete: "Callable[[dict[str, Any], list[int]], dict[str, Any]] | None" = None
    """From a request and its tokens to the choice of the answer, instead of a made-up one; may be slow."""
    at_once: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    most_at_once: int = 0


def log_probability(token: int) -> float:
    """The logprob of a token, whatever comes before it; tokens divisible by three are not the most probable."""
    return -((token % 7) + 1) / 10


@contextmanager
def serve() -> Iterator[FakeServer]:
    """A server on a free local port."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    fake = FakeServer(f"http://127.0.0.1:{http.server_address[1]}")
    http.fake, http.lock = fake, threading.Lock()  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        fake: FakeServer = self.server.fake
        if self.path == "/v1/models":
            self._send(200, {"data": [{"id": fake.model, "owned_by": "fake", **fake.listing}]})
        else:
            self._send(200, fake.pages[self.path]) if self.path in fake.pages else self._send(404, {})

    def do_POST(self) -> None:
        fake: FakeServer = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            fake.at_once += 1
            fake.most_at_once = max(fake.most_at_once, fake.at_once)
            before = sum(known["prompt"] == body["prompt"] for known in fake.bodies)
            fake.bodies.append(body)
            fake.keys.add(self.headers.get("authorization"))
        try:
            fault = fake.fault(body, before)
            if fault == "drop":
                self.close_connection = True
                self.connection.close()
            elif isinstance(fault, tuple):
                self._send(fault[0], {"error": f"no: {self.headers.get('authorization')}"}, fault[1])
            elif body["model"] != fake.model:
                self._send(404, {"error": f"no model {body['model']}"})
            elif isinstance(body["prompt"], list) and not fake.takes_ids:
                self._send(400, {"detail": "prompt must be a string."})
            else:
                self._send(200, _answer(fake, body))
        finally:
            with self.server.lock:
                fake.at_once -= 1

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "content-type": "application/json",
            "content-length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


def _answer(fake: FakeServer, body: dict[str, Any]) -> dict[str, Any]:
    prompt = body["prompt"]
    ids = prompt if isinstance(prompt, list) else fake.tokenize(prompt)
    changes = {"text": f"answer to {sum(ids)}", "finish_reason": "stop", "model": fake.model, "prompt_tokens": len(ids)}
    changes |= fake.reply(ids)
    choice: dict[str, Any] = {"text": changes["text"], "finish_reason": changes["finish_reason"]}
    if fake.complete is not None:
        choice = fake.complete(body, ids)
    whole = choice["finish_reason"] == "length"
    written = changes.get("completion_tokens", body["max_tokens"] if whole else 3)
    usage = {"prompt_tokens": changes["prompt_tokens"], "completion_tokens": written}
    if fake.complete is not None:
        return {"model": changes["model"], "choices": [choice], "usage": usage}
    if body.get("echo") and fake.gives_log_probabilities:
        scores = [log_probability(token) for token in (*ids, 0)]
        best = [{"x": -0.01 if token % 3 == 0 else score - 1} for token, score in zip((*ids, 0), scores, strict=True)]
        choice["logprobs"] = {"token_logprobs": [None, *scores[1:]], "top_logprobs": [None, *best[1:]]}
    return {"model": changes["model"], "choices": [choice], "usage": usage}
