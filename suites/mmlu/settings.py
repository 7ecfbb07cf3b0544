"""Settings of an MMLU run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from evalkit.values import counted
from suites.mmlu.subjects import GROUPS, SUBJECTS

SEED = 0
"""The seed in sample ids: always 0, because MMLU has no random choices."""
SHOTS = 5
MAX_SHOTS = 100

Variant = Literal["mc", "cloze"]


@dataclass(frozen=True, slots=True)
class MmluSettings:
    """Subjects with their settings; make it with `of`, which checks the values."""

    subjects: tuple[str, ...]
    """Subjects in alphabetical order."""
    shots: int
    """Number of worked examples: the first of the subject's dev questions."""
    samples: int | None
    """Questions per subject, from the start; None for all."""
    variant: Variant
    """mc: the choices are listed and letters are scored; cloze: the texts of the choices are scored."""
    data: str | None
    """Folder of CSV files; None for the hub."""
    fewshot_as_multiturn: bool | None = None
    """In a chat, whether worked examples are turns of their own; None for yes, as in lm-eval."""

    @staticmethod
    def of(
        *,
        subjects: tuple[str, ...] | None = None,
        shots: int = SHOTS,
        samples: int | None = None,
        variant: str = "mc",
        data: Path | None = None,
        fewshot_as_multiturn: bool | None = None,
    ) -> "MmluSettings":
        """Settings completed by defaults; a group includes its subjects.

        Raises UsageError naming the value, the limit and the remedy.
        """
        check_known("MMLU subject", subjects or (), (*SUBJECTS, *GROUPS))
        asked = {name for subject in subjects or SUBJECTS for name in GROUPS.get(subject, (subject,))}
        if not 0 <= shots <= MAX_SHOTS:
            raise UsageError(f"{shots} shots: from 0 to {MAX_SHOTS} are possible; change --shots")
        if samples is not None and samples < 1:
            raise UsageError(f"{samples} samples: at least 1 is needed; raise --samples")
        if variant not in get_args(Variant):
            raise UsageError(f"variant {variant!r} is unknown; write --variant {' or '.join(get_args(Variant))}")
        if data is not None and not data.is_dir():
            raise UsageError(f"--data {data}: no such folder; name the folder that holds MMLU's CSV files")
        return MmluSettings(
            subjects=tuple(sorted(asked)),
            shots=shots,
            samples=samples,
            variant="cloze" if variant == "cloze" else "mc",
            data=None if data is None else str(data),
            fewshot_as_multiturn=fewshot_as_multiturn,
        )

    @property
    def multiturn(self) -> bool:
        """Whether worked examples are turns of their own in a chat."""
        return self.fewshot_as_multiturn is not False

    def headline(self) -> str:
        """The questions in one line, for the first line of output."""
        number = "all questions" if self.samples is None else f"{counted(self.samples, 'question')} each"
        return f"mmlu: {counted(len(self.subjects), 'subject')}, {number}, {self.shots}-shot {self.variant}"

    def contexts(self) -> tuple[int, ...]:
        """No lengths: a prompt is as long as its question."""
        return ()
