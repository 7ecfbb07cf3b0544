"""Settings of a RULER run."""

from dataclasses import dataclass
from pathlib import Path

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from evalkit.values import counted
from suites.ruler.tasks import DIALECTS, SHORTEST, TASKS, Dialect

SAMPLES = 100
QUICK_SAMPLES = 1
SEED = 42


@dataclass(frozen=True, slots=True)
class RulerSettings:
    """Checked settings; make them with `of`."""

    ctxs: tuple[int, ...]
    """Context lengths in tokens, prompt and generation budget together."""
    tasks: tuple[str, ...]
    samples: int | None
    """Samples per task and length; None for all of the prepared files."""
    seed: int
    dialect: Dialect
    data: str | None = None
    """Folder of samples prepared elsewhere, instead of native ones."""

    @staticmethod
    def of(
        *,
        ctx: tuple[int, ...],
        tasks: tuple[str, ...] | None = None,
        samples: int | None = None,
        seed: int = SEED,
        dialect: str = "nvidia",
        data: Path | None = None,
    ) -> "RulerSettings":
        """Settings completed and checked; UsageError names the value, the limit and the remedy.

        `ctx` holds the context lengths in tokens.
        """
        check_known("task", tasks or (), TASKS)
        check_known("dialect", [dialect], DIALECTS)
        for length in ctx:
            if length < SHORTEST:
                raise UsageError(f"--ctx {length:,} is too short for RULER's prompts; use {SHORTEST} or more")
        if not ctx:
            raise UsageError("no context length; give one or more, such as --ctx 4096")
        if samples is not None and samples < 1:
            raise UsageError(f"--samples {samples}: at least 1 sample per task is needed")
        if data is not None and seed != SEED:
            raise UsageError(f"--seed {seed}: the samples of --data have been drawn already; leave --seed out")
        if data is not None and not data.is_dir():
            raise UsageError(f"--data {data} is not a folder; name one with <task>/validation.jsonl in it")
        chosen = next(known for known in DIALECTS if known == dialect)
        return RulerSettings(
            ctxs=tuple(sorted(set(ctx))),
            tasks=tasks or TASKS,
            samples=SAMPLES if samples is None and data is None else samples,
            seed=seed,
            dialect=chosen,
            data=None if data is None else str(data),
        )

    def headline(self) -> str:
        """The questions in one line, for the first line of output."""
        lengths = ", ".join(f"{ctx:,}" for ctx in self.ctxs)
        if self.samples is None:
            return f"ruler: all prepared samples of {counted(len(self.tasks), 'task')} at {lengths} tokens"
        prompts = len(self.tasks) * len(self.ctxs) * self.samples
        asked = f"{counted(len(self.tasks), 'task')} × {counted(self.samples, 'sample')}"
        return f"ruler: {counted(prompts, 'prompt')} ({asked} at {lengths} tokens)"

    def contexts(self) -> tuple[int, ...]:
        """The context lengths, which every prompt fills."""
        return self.ctxs
