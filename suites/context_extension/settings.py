"""What a check of a context extension asks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from suites.mmlu import MmluSettings
from suites.ruler import TASKS

SHORT_CTX = 4096
"""The length that a model must not lose, and the shortest of the grid."""
MIN_CTX = 1024
GRID_TASKS = ("niah_single_2", "niah_multikey_1", "niah_multikey_3")
SAMPLES = 40
DEPTHS = 10
MAX_DEPTHS = 40
WINDOWS = 8
MARGIN_NATS = 0.05


@dataclass(frozen=True, slots=True)
class ExtensionSettings:
    """Checked settings; make them with `of`."""

    ctxs: tuple[int, ...]
    """Lengths of the grid, ascending; the last is the one that is tested."""
    tasks: tuple[str, ...]
    """RULER tasks of the grid."""
    samples: int
    """For each task and length."""
    depths: int
    """Bins of needle depth; the samples of a task and length are spread over them evenly."""
    windows: int
    """Long documents, and as many short ones, whose loss is measured."""
    path: str | None
    """Where they come from; None reads the essays."""
    field: str
    seed: int
    mmlu: MmluSettings | None = None
    """Questions that a model answered before its extension; None asks none."""

    @staticmethod
    def of(
        *,
        ctx: int,
        tasks: Sequence[str] | None = None,
        samples: int = SAMPLES,
        depths: int = DEPTHS,
        windows: int = WINDOWS,
        path: Path | None = None,
        field: str = "text",
        seed: int = 42,
        mmlu: MmluSettings | None = None,
    ) -> "ExtensionSettings":
        """Settings completed by defaults; UsageError names the value, the limit and the remedy."""
        check_known("RULER task", tasks or (), TASKS)
        if ctx < MIN_CTX:
            raise UsageError(f"context {ctx:,}: an extension is tested from {MIN_CTX:,} tokens on; raise --ctx")
        if samples < 1:
            raise UsageError(f"{samples} samples: at least 1 is needed; raise --samples")
        if not 1 <= depths <= MAX_DEPTHS:
            raise UsageError(f"{depths} depths: from 1 to {MAX_DEPTHS} can be told apart; change --depths")
        if windows < 1:
            raise UsageError(f"{windows} windows: at least 1 is needed; raise --windows")
        return ExtensionSettings(
            ctxs=grid_lengths(ctx),
            tasks=tuple(tasks) if tasks else GRID_TASKS,
            samples=samples,
            depths=min(depths, samples),
            windows=windows,
            path=None if path is None else str(path),
            field=field,
            seed=seed,
            mmlu=mmlu,
        )

    @property
    def ctx(self) -> int:
        """The tested length."""
        return self.ctxs[-1]

    @property
    def short_ctx(self) -> int:
        """The length at which the model is held against itself before the extension."""
        return self.ctxs[0]

    def short_only(self) -> "ExtensionSettings":
        """The same questions at the short length alone."""
        return replace(self, ctxs=self.ctxs[:1])


def grid_lengths(ctx: int) -> tuple[int, ...]:
    """4,096 and its doublings below `ctx`, then `ctx` itself."""
    lengths = []
    length = SHORT_CTX
    while length < ctx:
        lengths.append(length)
        length *= 2
    return (*lengths, ctx)
