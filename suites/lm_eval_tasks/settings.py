"""Settings of a run of lm-eval's tasks."""

from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import UsageError

MAX_SHOTS = 1000
SEED = 1234
"""lm-eval's own seed for drawing examples."""


@dataclass(frozen=True, slots=True)
class LmEvalSettings:
    """Tasks with their settings; make it with `of`, which checks the values."""

    tasks: tuple[str, ...]
    """Names of tasks, groups and tags, or paths of YAML files."""
    shots: int | None
    """Number of worked examples; None for each task's own."""
    samples: int | None
    """Documents per task, from the start; None for all."""
    include_path: str | None
    """Folder of YAML files with more tasks."""
    seed: int
    fewshot_as_multiturn: bool | None = None
    """In a chat, whether worked examples are turns of their own; None for yes, as in lm-eval."""

    @staticmethod
    def of(
        *,
        tasks: tuple[str, ...] = (),
        shots: int | None = None,
        samples: int | None = None,
        include_path: Path | None = None,
        seed: int = SEED,
        fewshot_as_multiturn: bool | None = None,
    ) -> "LmEvalSettings":
        """Settings completed by defaults; UsageError names the value, the limit and the remedy."""
        if not tasks:
            raise UsageError("no task is named; write lm-eval:arc_challenge,hellaswag")
        if shots is not None and not 0 <= shots <= MAX_SHOTS:
            raise UsageError(f"{shots} shots: from 0 to {MAX_SHOTS:,} are possible; change --shots")
        if samples is not None and samples < 1:
            raise UsageError(f"{samples} samples: at least 1 is needed; raise --samples")
        if include_path is not None and not include_path.is_dir():
            raise UsageError(f"--include-path {include_path}: no such folder; name the one with the tasks' YAML files")
        return LmEvalSettings(
            tasks=tuple(dict.fromkeys(tasks)),
            shots=shots,
            samples=samples,
            include_path=None if include_path is None else str(include_path),
            seed=seed,
            fewshot_as_multiturn=fewshot_as_multiturn,
        )

    @property
    def multiturn(self) -> bool:
        """Whether worked examples are turns of their own in a chat."""
        return self.fewshot_as_multiturn is not False

    def headline(self) -> str:
        """The questions in one line, for the first line of output."""
        return f"lm-eval: {', '.join(self.tasks)}"

    def contexts(self) -> tuple[int, ...]:
        """No lengths: a prompt is as long as its question."""
        return ()
