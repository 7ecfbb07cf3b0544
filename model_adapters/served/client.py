"""HTTP client of an OpenAI-compatible server: retries, and one-line errors without secrets."""

import os
import random
import threading
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

from evalkit.errors import RequestFailedError, UsageError
from model_adapters.messages import first_line

KEY_VARIABLES = ("EVALKIT_SERVER_KEY", "OPENAI_API_KEY")
TRIES = 6
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 60.0
_MESSAGE_CHARACTERS = 300


class RejectedError(RequestFailedError):
    """The server rejected the request as unsupported."""


def server_root(url: str) -> str:
    """The URL of a server without /v1; raises UsageError for an invalid URL or one with a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--server {url!r} is no URL of a server; write one such as http://localhost:8000")
    if parts.username or parts.password or parts.query:
        raise UsageError(
            f"--server holds a user name, a password or a query, which would be stored with the run; write "
            f"{parts.scheme}://{parts.hostname} and put the key into {KEY_VARIABLES[0]}"
        )
    return url.rstrip("/").removesuffix("/v1")


class ServerClient:
    """Sends requests to one server, inside a `with` block; safe to use from several threads."""

    def __init__(self, url: str, *, connections: int, timeout_seconds: float = 1800.0) -> None:
        """The key, if any, is read from the environment (KEY_VARIABLES); a request may take `timeout_seconds`."""
        self.root = server_root(url)
        self._key = next((key for name in KEY_VARIABLES if (key := os.environ.get(name))), None)
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        self._http = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(timeout_seconds, connect=30.0),
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
        self._stopped = threading.Event()
        self._random = random.Random()

    def get(self, path: str) -> Any:
        """The JSON at a path that not every server has; None if it is not available."""
        try:
            return self._json("GET", path, tries=2)
        except RequestFailedError:
            return None

    def complete(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer of /v1/completions; tried again if the server is busy, fails or drops the connection.

        Raises RejectedError if the server does not take the request, and RequestFailedError if all tries failed.
        """
        answer = self._json("POST", "/v1/completions", body)
        if not isinstance(answer, dict):
            raise RequestFailedError("the server answered with something that is not a JSON object")
        return answer

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, tries: int = TRIES) -> Any:
        """The parsed JSON of an answer, or None if it is not JSON."""
        reason = "stopped"
        for number in range(tries):
            if self._stopped.is_set():
                break
            asked_seconds = None
            try:
                response = self._http.request(method, self.root + path, json=body)
            except httpx2.TransportError as error:
                reason = self._clean(error)
            else:
                if response.is_success:
                    return _json(response)
                reason = f"HTTP {response.status_code}: {self._clean(response.text)}"
                if response.status_code not in _RETRIED:
                    raise RejectedError(f"the server rejected the request: {reason}")
                asked_seconds = _retry_after(response)
            if number + 1 < tries:
                self._stopped.wait(self._delay(number, asked_seconds))
        raise RequestFailedError(f"the server failed {tries} times, last with {reason}")

    def stop(self) -> None:
        """Stop waiting and retrying; later requests fail."""
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _delay(self, number: int, asked_seconds: float | None) -> float:
        delay = _FIRST_DELAY_SECONDS * 2.0**number if asked_seconds is None else asked_seconds
        # Random, so that requests that failed together are not retried together.
        return min(_LONGEST_DELAY_SECONDS, delay) * self._random.uniform(0.75, 1.25)

    def _clean(self, message: object) -> str:
        """The first line of a server's message, without the key."""
        line = first_line(message if isinstance(message, Exception) else Exception(str(message)))
        return (line if self._key is None else line.replace(self._key, "[key]"))[:_MESSAGE_CHARACTERS]


def _json(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds to wait according to the server; None if it gives none, or a date."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
