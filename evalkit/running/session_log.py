"""This process's entry in sessions.json, updated while samples end, so that it survives a killed process."""

import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime

from evalkit.errors import UsageError
from evalkit.records import Session
from evalkit.records.sessions import TIME
from evalkit.running.answering import Answerer
from evalkit.running.store import RunStore

SECONDS_BETWEEN_WRITES = (1.0, 10.0)
"""Seconds of a killed process that may be missing, at first and later; a new peak of memory is written at once."""


class SessionLog:
    """The current session; use as a context manager around its samples."""

    def __init__(self, store: RunStore, answerer: Answerer, started_at: float, command: str = "") -> None:
        """`started_at` is `time.perf_counter()` at the start of the command. Raises UsageError if the disk is full."""
        self._store, self._answerer, self._started_at = store, answerer, started_at
        self._began_at = time.perf_counter()
        engine = answerer.describe()
        elapsed = time.perf_counter() - started_at
        self._session = Session(
            number=max((session.number for session in store.sessions), default=0) + 1,
            started_at=datetime.fromtimestamp(time.time() - elapsed, UTC).strftime(TIME),
            environment=answerer.environment(),
            engine=engine,
            command=command,
        )
        self._write()

    @property
    def number(self) -> int:
        return self._session.number

    def prompt_sent(self) -> None:
        """Note the time of the first prompt."""
        if self._session.first_prompt_seconds is None:
            self._session = replace(self._session, first_prompt_seconds=time.perf_counter() - self._started_at)

    def sample_ended(self) -> None:
        """Count a stored sample; raises UsageError if sessions.json cannot be written."""
        self._session = replace(self._session, samples=self._session.samples + 1)
        peak, known = self._answerer.memory().peak_bytes, self._session.memory.peak_bytes
        is_higher = peak is not None and (known is None or peak > known)
        now = time.perf_counter()
        least, most = SECONDS_BETWEEN_WRITES
        if is_higher or now - self._written_at >= min(max(least, (now - self._began_at) / 4), most):
            self._write()

    def __enter__(self) -> "SessionLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._session = replace(self._session, ended=kind is None)
        # Report the error that ended the session, not that its end cannot be written either.
        with contextlib.suppress(*(() if kind is None else (UsageError,))):
            self._write()

    def _write(self) -> None:
        self._written_at = time.perf_counter()
        self._session = replace(
            self._session,
            engine=self._answerer.describe(),
            wall_seconds=self._written_at - self._started_at,
            memory=self._answerer.memory(),
            replicas=self._answerer.replicas(),
        )
        self._store.record_session(self._session)
