"""What a RULER run asks for."""

from dataclasses import dataclass
from pathlib import Path

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from suites.ruler.tasks import DIALECTS, SHORTEST, TASKS, Dialect


@dataclass(frozen=True, slots=True)
class RulerSettings:
    """Checked settings; make them with `of`."""

    ctxs: tuple[int, ...]
    """Context lengths in tokens, prompt and generation budget together."""
    tasks: tuple[str, ...]
    samples: int | None
    """Samples a task and length; None means all that the prepared files hold."""
    seed: int
    dialect: Dialect
    data: Path | None = None
    """Folder of samples prepared elsewhere, instead of native ones."""

    @staticmethod
    def of(
        *,
        ctxs: tuple[int, ...],
        tasks: tuple[str, ...] | None = None,
        samples: int | None = None,
        seed: int = 42,
        dialect: str = "nvidia",
        data: Path | None = None,
    ) -> "RulerSettings":
        """Settings completed and checked; `tasks` None means all 13. Raises UsageError for what cannot be asked."""
        check_known("task", tasks or (), TASKS)
        check_known("dialect", [dialect], DIALECTS)
        for ctx in ctxs:
            if ctx < SHORTEST:
                raise UsageError(f"--ctx {ctx:,} is too short for RULER's prompts; use {SHORTEST} or more")
        if not ctxs:
            raise UsageError("no context length; give --ctx 4096 or more of them")
        if samples is not None and samples < 1:
            raise UsageError(f"--samples {samples}: at least 1 sample a task is needed")
        if samples is None and data is None:
            raise UsageError("the number of samples is open; give --samples")
        if data is not None and not data.is_dir():
            raise UsageError(f"--data {data} is not a folder; name one with <task>/validation.jsonl in it")
        chosen = next(known for known in DIALECTS if known == dialect)
        return RulerSettings(tuple(sorted(set(ctxs))), tasks or TASKS, samples, seed, chosen, data)
