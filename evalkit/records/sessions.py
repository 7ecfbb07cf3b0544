"""Records of the processes that worked on a run."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from evalkit.records.execution import EngineDescription, Environment, MemoryUse

TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class ReplicaUse:
    """One replica of the model in a session: where it ran, and what it did."""

    number: int
    """Number from 1, which no other replica of the session has."""
    host: str
    hardware: str
    """Its GPU with the share that it had (`NVIDIA H200 × 0.5`), or the host's processor and how many share it."""
    samples: int = 0
    """Number of samples that it answered, and their tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """Time from when it was ready to its end."""
    busy_seconds: float = 0.0
    """Time in which it had samples to answer; the share of `seconds` is its utilisation."""
    returned: int = 0
    """Number of samples that it was lost with, and that were handed to others."""
    peak_bytes: int | None = None
    lost: str | None = None
    """Why it was lost; None if it worked to the end."""


@dataclass(frozen=True, slots=True)
class Session:
    """One process that answered samples of a run, up to its end or to the last sample before it was killed."""

    number: int
    """Number from 1; 0 is everything before sessions were recorded."""
    started_at: str | None
    """UTC, as `2026-05-01T12:00:00Z`; None if unknown."""
    environment: Environment = field(default_factory=Environment)
    engine: EngineDescription = field(default_factory=EngineDescription)
    samples: int = 0
    """Number of samples that it answered."""
    wall_seconds: float | None = None
    first_prompt_seconds: float | None = None
    """Seconds from the start of the command to the first prompt."""
    memory: MemoryUse = field(default_factory=MemoryUse)
    ended: bool = False
    """False if it was stopped before its last sample or is still running."""
    shard: int | None = None
    """Number of the shard that it worked on, in a run merged from shards."""
    command: str = ""
    """The command line; empty if not recorded."""
    replicas: tuple[ReplicaUse, ...] = ()
    """The replicas that answered the samples; empty if one model in the process did."""

    @property
    def written_at(self) -> datetime | None:
        """When the session was last written: at its end, or soon after a sample; None if unknown."""
        if self.started_at is None or self.wall_seconds is None:
            return None
        try:
            started_at = datetime.strptime(self.started_at, TIME).replace(tzinfo=UTC)
            return started_at + timedelta(seconds=self.wall_seconds)
        except (ValueError, OverflowError):
            return None  # not written by evalkit

    @property
    def ended_at(self) -> str | None:
        """UTC, as `started_at`; None while it runs, and if its start or duration is unknown."""
        written_at = self.written_at
        return written_at.strftime(TIME) if written_at is not None and self.ended else None

    @property
    def hardware(self) -> str:
        """The processors or GPUs that the model ran on; empty if unknown."""
        return " and ".join(self.hardware_kinds)

    @property
    def hardware_kinds(self) -> tuple[str, ...]:
        """Each kind of processor or GPU that answered samples; an empty text if it is unknown."""
        if self.replicas:
            return tuple(dict.fromkeys(replica.hardware for replica in self.replicas if replica.samples))
        return (hardware_of(self.environment, self.engine),)


def hardware_of(environment: Environment, engine: EngineDescription) -> str:
    """The processor or GPU that a model runs on; empty if unknown."""
    gpu, cpu = environment.gpu, environment.cpu
    if gpu is not None and engine.device_type != "cpu":
        return f"{gpu.name} × {gpu.count}"
    return f"{cpu}, {environment.cpu_count} cores" if cpu else ""


@dataclass(frozen=True, slots=True)
class SessionList:
    """The content of sessions.json."""

    schema: str
    sessions: tuple[Session, ...]
