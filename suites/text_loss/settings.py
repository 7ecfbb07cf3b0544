"""Settings of a text-loss run."""

from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import UsageError
from suites.text_loss.sources import FIELD, check_field

SEED = 0
"""The seed in sample ids: always 0, because no question is drawn."""
CTX = 4096
MIN_CTX = 128
NGRAM = 4
MAX_NGRAM = 64
EMBEDDED_SAMPLES = 16
"""Default number of windows of the essays."""


@dataclass(frozen=True, slots=True)
class TextLossSettings:
    """A text and its windows; make it with `of`, which checks the values."""

    path: str | None
    """A text file, or a .jsonl file with one document per line; None for the essays."""
    ctxs: tuple[int, ...]
    """One context: tokens of a window, special tokens included."""
    overlap: int
    """Tokens of each window that are context and not scored again."""
    ngram: int
    """Length of n-grams; a token is copied if the n-gram that it ends occurs earlier in its window."""
    samples: int | None
    """Number of windows from the start; None for all."""
    field: str
    """Field with the text in a .jsonl file."""

    @staticmethod
    def of(
        *,
        path: Path | None = None,
        ctx: int = CTX,
        overlap: int = 0,
        ngram: int = NGRAM,
        samples: int | None = None,
        field: str = FIELD,
    ) -> "TextLossSettings":
        """Settings completed by defaults; UsageError names the value, the limit and the remedy."""
        if ctx < MIN_CTX:
            raise UsageError(f"context {ctx:,}: at least {MIN_CTX} tokens are needed; raise --ctx")
        if not 0 <= overlap <= ctx // 2:
            raise UsageError(f"overlap {overlap:,}: from 0 to half the context, {ctx // 2:,}; change --overlap")
        if not 1 <= ngram <= MAX_NGRAM:
            raise UsageError(f"n-grams of {ngram}: from 1 to {MAX_NGRAM} tokens are possible; change --ngram")
        if samples is not None and samples < 1:
            raise UsageError(f"{samples} samples: at least 1 is needed; raise --samples")
        if path is not None and not path.is_file():
            raise UsageError(f"{path} is not a file; name a text file, or a .jsonl file with one document per line")
        check_field(path, field)
        return TextLossSettings(
            path=None if path is None else str(path),
            ctxs=(ctx,),
            overlap=overlap,
            ngram=ngram,
            samples=EMBEDDED_SAMPLES if samples is None and path is None else samples,
            field=field,
        )

    def headline(self) -> str:
        """The text in one line, for the first line of output."""
        return f"loss: {self.path or 'the essays'} in windows of {self.ctxs[0]:,} tokens"

    def contexts(self) -> tuple[int, ...]:
        """Tokens of a window."""
        return self.ctxs
