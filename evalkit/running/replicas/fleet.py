"""The transport between a run and its replicas: what is sent, and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evalkit.records import (
    EngineDescription,
    Environment,
    Manifest,
    MemoryUse,
    ModelIdentity,
    PreflightCheck,
    SampleKey,
    SampleRecord,
)


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """What a replica knows once its model is loaded and its suite is built."""

    host: str
    hardware: str
    """As `ReplicaUse.hardware`."""
    environment: Environment
    identity: ModelIdentity
    manifest: Manifest
    """Of the run as this replica would make it: its corpora and its engine."""
    engine: EngineDescription
    tokens_seen: int | None = None
    warnings: tuple[str, ...] = ()
    preflight: tuple[PreflightCheck, ...] = ()
    log_probabilities: bool = True
    """Whether requests for log-probabilities of given text are answered."""


@dataclass(frozen=True, slots=True)
class Loading:
    """A replica is not ready yet; fleets whose replicas can hang while they load say so every few seconds."""

    replica: int
    progressed: bool
    """Whether its process did anything since the last time, such as reading a file."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A replica is ready."""

    replica: int
    facts: ReplicaFacts
    ahead: int
    """Number of samples that it can use at once: those that are decoded together, and prompts prepared ahead."""


@dataclass(frozen=True, slots=True)
class Report:
    """News of a replica, or a sign of life without any."""

    replica: int
    started: tuple[str, ...]
    """Ids of samples whose prompts were sent to the model."""
    records: tuple[SampleRecord, ...]
    engine: EngineDescription
    memory: MemoryUse
    ahead: int
    broken: str | None = None
    """Traceback of an error in evalkit that ended the replica's work."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A replica was lost, or could not be started."""

    replica: int
    reason: str
    """One line."""
    is_final: bool = False
    """Whether another replica in its place would fail in the same way."""


Event = Loading | Joined | Report | Gone


class Fleet(Protocol):
    """Replicas by number, on any transport; nothing it does waits for a replica, except `receive`."""

    def start(self) -> int:
        """Start a replica, whose number was never used before; it joins later."""
        ...

    def send(self, replica: int, keys: Sequence[SampleKey]) -> None:
        """Send samples to a replica that has joined."""
        ...

    def receive(self, seconds: float) -> list[Event]:
        """Everything that came in; waits at most `seconds` for the first."""
        ...

    def stop(self, replica: int) -> None:
        """End a replica at once; no event of it follows."""
        ...
