"""Settings of a check of a context extension."""

from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from evalkit.values import ModelName, counted
from suites.mmlu import MmluSettings
from suites.ruler import TASKS
from suites.text_loss.sources import FIELD, check_field

SHORT_CTX = 4096
"""The short length, at which an extension must not lose anything; also the shortest of the grid."""
MIN_CTX = 1024
GRID_TASKS = ("niah_single_2", "niah_multikey_1", "niah_multikey_3")
SAMPLES, QUICK_SAMPLES = 40, 4
DEPTHS = 10
MAX_DEPTHS = 40
WINDOWS, QUICK_WINDOWS = 8, 2
MARGIN_NATS = 0.05
MARGIN_POINTS = 2.0
MARGIN_BITS = 0.02


@dataclass(frozen=True, slots=True)
class ExtensionSettings:
    """Checked settings; make them with `of`."""

    ctxs: tuple[int, ...]
    """Lengths of the grid, ascending; the last is the tested one."""
    tasks: tuple[str, ...]
    """RULER tasks of the grid."""
    samples: int
    """Samples per task and length."""
    depths: int
    """Number of bins of needle depth, over which the samples of a task and length are spread evenly."""
    windows: int
    """Number of long documents, and of short ones, whose loss is measured."""
    path: str | None
    """File of the long documents; None for the essays."""
    field: str
    seed: int
    mmlu: MmluSettings | None = None
    """MMLU questions per subject, for the comparison with the checkpoint before the extension; None for no MMLU."""
    trained: int | None = None
    """Trained length before the extension, in tokens; None for the one that the checkpoint states."""
    margin: float = MARGIN_NATS
    """Accepted rise of the loss beyond the trained length, in nats per token."""
    margin_points: float = MARGIN_POINTS
    """Accepted drop at the short length and on MMLU, in points, compared with the checkpoint before the extension."""
    margin_bits: float = MARGIN_BITS
    """Accepted rise of the loss at the short length, in bits per byte, since the checkpoint before the extension."""
    before: str | None = None
    """The checkpoint before its extension."""

    @staticmethod
    def of(
        *,
        ctx: int,
        tasks: tuple[str, ...] | None = None,
        samples: int = SAMPLES,
        depths: int | None = None,
        windows: int = WINDOWS,
        text: Path | None = None,
        field: str = FIELD,
        seed: int = 42,
        mmlu: int | None = None,
        mmlu_data: Path | None = None,
        trained: int | None = None,
        margin: float = MARGIN_NATS,
        margin_points: float = MARGIN_POINTS,
        margin_bits: float = MARGIN_BITS,
        before: ModelName | None = None,
    ) -> "ExtensionSettings":
        """Settings completed by defaults; UsageError names the value, the limit and the remedy.

        `text` holds the long documents, `mmlu` is a number of questions per subject and `mmlu_data` their folder.
        """
        check_known("RULER task", tasks or (), TASKS)
        if ctx < MIN_CTX:
            raise UsageError(f"context {ctx:,}: an extension is tested from {MIN_CTX:,} tokens on; raise --ctx")
        if samples < 1:
            raise UsageError(f"{samples} samples: at least 1 is needed; raise --samples")
        if depths is not None:
            _check_depths(depths, samples)
        if windows < 1:
            raise UsageError(f"{windows} windows: at least 1 is needed; raise --windows")
        if text is not None and not text.is_file():
            raise UsageError(f"{text} is not a file; name a text file, or a .jsonl file with one document per line")
        check_field(text, field)
        if min(margin, margin_points, margin_bits) < 0:
            raise UsageError(f"a margin of {min(margin, margin_points, margin_bits):g}: the least is 0")
        if trained is not None and trained < 1:
            raise UsageError(f"--trained {trained}: at least 1 token is needed")
        if mmlu_data is not None and mmlu is None:
            raise UsageError(f"--mmlu-data {mmlu_data}: give the number of questions per subject with --mmlu")
        return ExtensionSettings(
            ctxs=grid_lengths(ctx),
            tasks=tuple(tasks) if tasks else GRID_TASKS,
            samples=samples,
            depths=min(DEPTHS, samples) if depths is None else depths,
            windows=windows,
            path=None if text is None else str(text),
            field=field,
            seed=seed,
            mmlu=None if mmlu is None else MmluSettings.of(samples=mmlu, data=mmlu_data),
            trained=trained,
            margin=margin,
            margin_points=margin_points,
            margin_bits=margin_bits,
            before=None if before is None else str(before),
        )

    def headline(self) -> str:
        """The questions in one line, for the first line of output."""
        prompts = len(self.tasks) * len(self.ctxs) * self.samples
        lengths = f"at {self.ctx:,}" if len(self.ctxs) == 1 else f"from {self.short_ctx:,} to {self.ctx:,}"
        documents = counted(self.windows, "long document")
        return f"extend: {counted(prompts, 'needle prompt')} {lengths} tokens and {documents}"

    def contexts(self) -> tuple[int, ...]:
        """The lengths of the grid."""
        return self.ctxs

    @property
    def ctx(self) -> int:
        """The tested length."""
        return self.ctxs[-1]

    @property
    def short_ctx(self) -> int:
        """The length at which the model is compared with the checkpoint before the extension."""
        return self.ctxs[0]

    def short_only(self) -> "ExtensionSettings":
        """The same questions at the short length alone."""
        return replace(self, ctxs=self.ctxs[:1], before=None)


def grid_lengths(ctx: int) -> tuple[int, ...]:
    """4,096 and its doublings below `ctx`, then `ctx` itself."""
    lengths = []
    length = SHORT_CTX
    while length < ctx:
        lengths.append(length)
        length *= 2
    return (*lengths, ctx)


def _check_depths(depths: int, samples: int) -> None:
    if not 1 <= depths <= MAX_DEPTHS:
        raise UsageError(f"{depths} depths: from 1 to {MAX_DEPTHS} are possible; change --depths")
    if depths > samples:
        raise UsageError(
            f"{depths} depths: each needs a sample, and a task has {counted(samples, 'sample')} per length; "
            "lower --depths, or raise --samples"
        )
