"""Records of the processes that worked on a run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Session:
    """One process that answered samples of a run, up to its end or to the last sample before it was killed."""

    number: int
    """From 1; 0 stands for everything before sessions were recorded."""
    started_at: str | None
    """UTC, as `2026-05-01T12:00:00Z`; None if unknown."""
    environment: dict[str, Any]
    """Versions and hardware, as `describe_environment` gives them; empty if unknown."""
    engine: dict[str, Any]
    """The adapter's description of how the model was run; empty if unknown."""
    samples: int = 0
    """How many of the run's samples it answered."""
    wall_seconds: float | None = None
    first_prompt_seconds: float | None = None
    """From the start of the command to the first prompt."""
    memory: dict[str, float | int | str | None] = field(default_factory=dict)
    ended: bool = False
    """False if it was stopped before its last sample, or is still at work."""

    @property
    def hardware(self) -> str:
        """The processor or GPU that the model ran on; empty if unknown."""
        gpu = self.environment.get("gpu")
        if isinstance(gpu, dict) and not str(self.engine.get("device", "")).startswith("cpu"):
            return f"{gpu.get('name')} × {gpu.get('count', 1)}"
        cpu, count = self.environment.get("cpu"), self.environment.get("cpu_count")
        return f"{cpu}, {count} cores" if cpu else ""


@dataclass(frozen=True, slots=True)
class SessionList:
    """The content of sessions.json."""

    schema: str
    sessions: tuple[Session, ...]
