"""Records of the processes that worked on a run."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from evalkit.records.execution import EngineDescription, Environment, MemoryUse

TIME = "%Y-%m-%dT%H:%M:%SZ"


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

    @property
    def written_at(self) -> datetime | None:
        """When the session was last written: at its end, or soon after a sample; None if unknown."""
        if self.started_at is None or self.wall_seconds is None:
            return None
        started_at = datetime.strptime(self.started_at, TIME).replace(tzinfo=UTC)
        return started_at + timedelta(seconds=self.wall_seconds)

    @property
    def ended_at(self) -> str | None:
        """UTC, as `started_at`; None while it runs, and if its start or duration is unknown."""
        written_at = self.written_at
        return written_at.strftime(TIME) if written_at is not None and self.ended else None

    @property
    def hardware(self) -> str:
        """The processor or GPU that the model ran on; empty if unknown."""
        gpu, cpu = self.environment.gpu, self.environment.cpu
        if gpu is not None and self.engine.device_type != "cpu":
            return f"{gpu.name} × {gpu.count}"
        return f"{cpu}, {self.environment.cpu_count} cores" if cpu else ""


@dataclass(frozen=True, slots=True)
class SessionList:
    """The content of sessions.json."""

    schema: str
    sessions: tuple[Session, ...]
