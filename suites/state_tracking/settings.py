"""Settings of a state-tracking run."""

from dataclasses import dataclass

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from evalkit.values import counted
from suites.state_tracking.tasks import MAX_UPDATES, MIN_UPDATES, TASKS

UPDATES = (4, 8, 16, 32, 64, 128, 256, 512)
SAMPLES = 50
QUICK_SAMPLES = 10
SHOTS = 3
MAX_SHOTS = 32
MIN_CTX = 512
NO_CTX = 0
"""Context of a prompt that is as long as its question."""


@dataclass(frozen=True, slots=True)
class StateTrackingSettings:
    """Tasks × numbers of updates × contexts × samples; make it with `of`, which checks the values."""

    tasks: tuple[str, ...]
    updates: tuple[int, ...]
    ctxs: tuple[int, ...]
    """Context lengths in tokens, filled with distractor text; 0 for the question alone."""
    samples: int
    """Samples per task, number of updates and context."""
    seed: int
    shots: int
    """Number of worked examples before the question."""

    @staticmethod
    def of(
        *,
        tasks: tuple[str, ...] | None = None,
        updates: tuple[int, ...] | None = None,
        ctx: tuple[int, ...] | None = None,
        samples: int | None = None,
        seed: int = 42,
        shots: int = SHOTS,
    ) -> "StateTrackingSettings":
        """Settings completed by defaults; UsageError names the value, the limit and the remedy."""
        check_known("state-tracking task", tasks or (), TASKS)
        for count in updates or ():
            if not MIN_UPDATES <= count <= MAX_UPDATES:
                raise UsageError(
                    f"{count:,} updates: from {MIN_UPDATES} to {MAX_UPDATES:,} are possible; change --updates"
                )
        for length in ctx or ():
            if length != NO_CTX and length < MIN_CTX:
                raise UsageError(f"context {length:,}: distractor text needs at least {MIN_CTX} tokens; raise --ctx")
        if samples is not None and samples < 1:
            raise UsageError(f"{samples} samples: at least 1 is needed; raise --samples")
        if not 0 <= shots <= MAX_SHOTS:
            raise UsageError(f"{shots} worked examples: from 0 to {MAX_SHOTS} are possible; change --shots")
        return StateTrackingSettings(
            tasks=tuple(tasks) if tasks else tuple(TASKS),
            updates=tuple(sorted(set(updates or UPDATES))),
            ctxs=tuple(sorted(set(ctx or (NO_CTX,)))),
            samples=SAMPLES if samples is None else samples,
            seed=seed,
            shots=shots,
        )

    def headline(self) -> str:
        """The questions in one line, for the first line of output."""
        prompts = len(self.tasks) * len(self.updates) * len(self.ctxs) * self.samples
        updates = " to ".join(dict.fromkeys(f"{number:,}" for number in (self.updates[0], self.updates[-1])))
        return (
            f"track: {counted(prompts, 'prompt')} ({counted(len(self.tasks), 'task')}, {updates} updates, "
            f"{counted(self.samples, 'sample')} each)"
        )

    def contexts(self) -> tuple[int, ...]:
        """The contexts that are filled with other text."""
        return tuple(ctx for ctx in self.ctxs if ctx != NO_CTX)
