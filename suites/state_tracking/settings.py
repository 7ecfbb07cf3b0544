"""What a state-tracking run asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from suites.state_tracking.tasks import MAX_UPDATES, MIN_UPDATES, TASKS

UPDATES = (4, 8, 16, 32, 64, 128, 256, 512)
SAMPLES = 50
SHOTS = 3
MAX_SHOTS = 32
MIN_CTX = 512
NO_CTX = 0
"""The context of a prompt that is as long as its question."""


@dataclass(frozen=True, slots=True)
class StateTrackingSettings:
    """Tasks × numbers of updates × contexts × samples; make it with `of`, which checks the values."""

    tasks: tuple[str, ...]
    updates: tuple[int, ...]
    ctxs: tuple[int, ...]
    """Contexts in tokens that are filled with distractor text; 0 asks the bare question."""
    samples: int
    """Samples for each task, number of updates and context."""
    seed: int
    shots: int
    """Worked examples before the question."""

    @staticmethod
    def of(
        *,
        tasks: Sequence[str] | None = None,
        updates: Sequence[int] | None = None,
        ctxs: Sequence[int] | None = None,
        samples: int | None = None,
        seed: int = 42,
        shots: int = SHOTS,
    ) -> "StateTrackingSettings":
        """Settings completed by defaults; UsageError names the value, the limit and the remedy."""
        check_known("state-tracking task", tasks or (), TASKS)
        for count in updates or ():
            if not MIN_UPDATES <= count <= MAX_UPDATES:
                raise UsageError(
                    f"{count:,} updates: from {MIN_UPDATES} to {MAX_UPDATES:,} can be asked; change --updates"
                )
        for ctx in ctxs or ():
            if ctx != NO_CTX and ctx < MIN_CTX:
                raise UsageError(f"context {ctx:,}: distractor text needs at least {MIN_CTX} tokens; raise --ctx")
        if samples is not None and samples < 1:
            raise UsageError(f"{samples} samples: at least 1 is needed; raise --samples")
        if not 0 <= shots <= MAX_SHOTS:
            raise UsageError(f"{shots} worked examples: from 0 to {MAX_SHOTS} can be shown; change --shots")
        return StateTrackingSettings(
            tasks=tuple(tasks) if tasks else tuple(TASKS),
            updates=tuple(sorted(set(updates or UPDATES))),
            ctxs=tuple(sorted(set(ctxs or (NO_CTX,)))),
            samples=SAMPLES if samples is None else samples,
            seed=seed,
            shots=shots,
        )
