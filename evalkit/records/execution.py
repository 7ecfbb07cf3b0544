"""Records of what a run ran on, how it ran, and what it took."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPUs of a machine."""

    name: str | None = None
    count: int = 1
    memory_bytes: int | None = None
    capability: str | None = None
    cuda: str | None = None
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """Code, libraries and hardware; None for what is unknown."""

    evalkit: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    python: str | None = None
    platform: str | None = None
    cpu: str | None = None
    cpu_count: int | None = None
    libraries: dict[str, str | None] = field(default_factory=dict)
    """Name -> version; None for one that is not installed."""
    gpu: Gpu | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Versions of evalkit and of the libraries that are installed."""
        found = {"evalkit": self.evalkit, **self.libraries}
        return {name: version for name, version in found.items() if version is not None}


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """How a model is run, as its adapter says; None for what is unknown.

    `engine`, `device`, `gdn_kernel` and `batch_invariant` decide the answers: a run is not continued with others.
    """

    engine: str | None = None
    device: str | None = None
    """Such as `cuda:0`."""
    dtype: str | None = None
    attention: str | None = None
    gdn_kernel: str | None = None
    """What runs the gated delta rule."""
    batch_invariant: str | None = None
    """The fixed shapes of passes that make answers independent of each other; `no` if shapes are not fixed."""
    segment_tokens: int | None = None
    """Tokens of a prompt that are read at once."""
    batch_sequences: int | None = None
    """Sequences that are decoded together."""
    max_tokens: int | None = None
    """The longest sequence that was planned for."""
    prefixes_read: int = 0
    """Shared beginnings of prompts that were read once for all of them."""
    prefix_requests: int = 0
    """Requests that continued one."""
    prefix_tokens_saved: int = 0

    @property
    def device_type(self) -> str | None:
        """Such as `cuda`."""
        return None if self.device is None else self.device.partition(":")[0]


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes of memory; None for what is unknown."""

    peak_bytes: int | None = None
    weights_bytes: int | None = None
    kv_bytes: int | None = None
    state_bytes: int | None = None
    method: str | None = None
    """How the peak was measured."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds and rates of a run; None for what is unknown."""

    wall_seconds: float | None = None
    first_prompt_seconds: float | None = None
    """From the start of the command to the first prompt."""
    prefill_seconds: float | None = None
    decode_seconds: float | None = None
    prefill_tokens_per_second: float | None = None
    decode_tokens_per_second: float | None = None
