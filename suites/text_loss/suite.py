"""The text-loss suite: bits per byte and nats per token of a text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import Asked, Completion, Request, Sample, SampleKey, SampleRecord, Score, SuitePlan, SuiteSummary
from evalkit.running.protocols import Tokenizer
from suites.text_loss.copies import is_copy
from suites.text_loss.settings import SEED, TextLossSettings
from suites.text_loss.sources import Source, question_settings
from suites.text_loss.summary import BITS_PER_BYTE, TASK, bits_per_byte, summarize
from suites.text_loss.windows import Window, WindowSize, cut_windows


@dataclass(frozen=True, slots=True)
class AskedWindow(Asked):
    """A window with what its judge needs about each scored token."""

    token_bytes: tuple[int, ...]
    """UTF-8 bytes of each scored token."""
    copies: tuple[bool, ...]
    """Whether each scored token ends an n-gram that occurred earlier in the window."""


class TextLossSuite:
    """Windows of a text; each token is scored given the tokens before it in its window.

    The first token of a window is scored only if the tokenizer puts a special token before a text; bytes are counted
    for scored tokens only.
    """

    name = "loss"
    version = "2"

    def __init__(
        self, settings: TextLossSettings, tokenizer: Tokenizer, source: Source, *, least_tokens: int = 0
    ) -> None:
        """Windows of fewer than `least_tokens` tokens are skipped."""
        self._settings, self._tokenizer, self._source = settings, tokenizer, source
        self._least_tokens = least_tokens
        self._size = WindowSize(settings.ctxs[0] - len(tokenizer.add_special_tokens([])), settings.overlap)
        self._windows: tuple[Window, ...] | None = None

    @property
    def dialect(self) -> str:
        """What else determines the numbers: how much context is read again, and what counts as a copy."""
        settings = self._settings
        overlap, copies = f"overlap {settings.overlap}", f"{settings.ngram}-gram copies"
        return f"{overlap}, {copies}"

    def plan(self) -> SuitePlan:
        """A key for each window; reads and tokenizes the text. Raises UsageError if there is none."""
        windows = self._all_windows()
        if not windows:
            raise UsageError(f"{self._source.use.name} has no text; name another file")
        keys = tuple(SampleKey(TASK, self._settings.ctxs[0], index, SEED) for index in range(len(windows)))
        settings = question_settings(self._settings.path, self._settings.field)
        return SuitePlan(
            keys=keys, unscored=(), corpora=(self._source.use,), question_settings=settings, log_probabilities=True
        )

    def window_count(self) -> int:
        """Windows of the text that will be scored; reads and tokenizes it."""
        return len(self._all_windows())

    def ask(self, key: SampleKey) -> AskedWindow:
        """Window number `key.index`, scored from the first token that follows its context and has a token before it.

        Raises SampleDoesNotFitError for a single token with nothing before it.
        """
        window = self._all_windows()[key.index]
        context = self._source.read(window.document, window.context, window.start)
        text = context + self._source.read(window.document, window.start, window.end)
        own_ids, offsets = self._tokenizer.encode_with_offsets(text)
        token_ids = tuple(self._tokenizer.add_special_tokens(own_ids))
        begins = [begin for begin, _ in offsets]
        start = len(context)
        if offsets and len(token_ids) == len(own_ids):
            # The first token has nothing before it, and the next may be the rest of the same character.
            start = max(start, offsets[0][1])
        first = next((place for place, begin in enumerate(begins) if begin >= start), None)
        if first is None:
            raise SampleDoesNotFitError(f"window {key.index} is one token with nothing before it; use another --ctx")
        sample = Sample(
            key=key,
            prompt=text,
            answer_prefix="",
            targets=(),
            generation_tokens=0,
            prompt_tokens=len(token_ids),
            metric=BITS_PER_BYTE,
        )
        ends = [*begins[1:], len(text)]
        return AskedWindow(
            sample,
            (Request(key.id, token_ids, 0, scored_from=len(token_ids) - len(own_ids) + first),),
            token_bytes=tuple(
                len(text[begin:end].encode()) for begin, end in zip(begins[first:], ends[first:], strict=True)
            ),
            copies=tuple(is_copy(own_ids, self._settings.ngram)[first:]),
        )

    def judge(self, asked: AskedWindow, completion: Completion) -> Score:
        """Bits per byte of the window, with its sums of nats, bytes and tokens, also for copied tokens."""
        nats = [-value for value in completion.log_probabilities or ()]
        measures = {
            "nats": math.fsum(nats),
            "tokens": float(len(nats)),
            "bytes": float(sum(asked.token_bytes)),
            "copy_nats": math.fsum(value for value, copied in zip(nats, asked.copies, strict=True) if copied),
            "copy_tokens": float(sum(asked.copies)),
        }
        return Score(bits_per_byte(measures), measures=measures)

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summarize(self._settings, records)

    def _all_windows(self) -> tuple[Window, ...]:
        if self._windows is None:
            windows = cut_windows(self._source, self._tokenizer, self._size)
            long_enough = (window for window in windows if window.tokens >= self._least_tokens)
            self._windows = tuple(islice(long_enough, self._settings.samples))
        return self._windows
