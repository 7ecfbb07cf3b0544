"""Text loss: how well a model predicts a text, in bits per byte and nats per token."""

import math
from collections.abc import Sequence
from itertools import islice

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import Completion, Request, Sample, SampleKey, SampleRecord, Score, SuitePlan, SuiteSummary
from evalkit.running.protocols import Tokenizer
from suites.text_loss.copies import is_copy
from suites.text_loss.settings import SEED, TextLossSettings
from suites.text_loss.sources import Source, question_settings
from suites.text_loss.summary import BITS_PER_BYTE, TASK, bits_per_byte, summarize
from suites.text_loss.windows import Window, WindowSize, cut_windows


class TextLossSuite:
    """Windows of a text, each scored token given those before it in its window.

    The first token of a window is scored only where the model's tokenizer puts a special token before a text; bytes
    are counted for scored tokens alone.
    """

    name = "loss"
    version = "2"

    def __init__(
        self, settings: TextLossSettings, tokenizer: Tokenizer, source: Source, *, least_tokens: int = 0
    ) -> None:
        """Windows of fewer than `least_tokens` tokens are passed over."""
        self._settings, self._tokenizer, self._source = settings, tokenizer, source
        self._least_tokens = least_tokens
        self._size = WindowSize(settings.ctxs[0] - tokenizer.special_prompt_tokens(), settings.overlap)
        self._windows: tuple[Window, ...] | None = None

    @property
    def dialect(self) -> str:
        """What else decides the numbers: how much context is read again, what counts as a copy, which text is read."""
        settings = self._settings
        overlap, copies = f"overlap {settings.overlap}", f"{settings.ngram}-gram copies"
        return f"{overlap}, {copies}"

    def plan(self) -> SuitePlan:
        """A key for each window; reads and tokenizes the text. Raises UsageError where there is none."""
        windows = self._all_windows()
        if not windows:
            raise UsageError(f"{self._source.use.name} holds no text; name a file that does")
        keys = tuple(SampleKey(TASK, self._settings.ctxs[0], index, SEED) for index in range(len(windows)))
        settings = question_settings(self._settings.path, self._settings.field)
        return SuitePlan(keys=keys, unscored=(), corpora=(self._source.use,), question_settings=settings)

    def window_count(self) -> int:
        """Windows of the text that will be scored; reads and tokenizes it."""
        return len(self._all_windows())

    def sample(self, key: SampleKey) -> Sample:
        """Window number `key.index`. Raises SampleDoesNotFitError for a single token with nothing before it."""
        window = self._all_windows()[key.index]
        context = self._source.read(window.document, window.context, window.start)
        text = context + self._source.read(window.document, window.start, window.end)
        first = self._first_scored(text, len(context))
        if first is None:
            raise SampleDoesNotFitError(f"window {key.index} is one token with nothing before it; use another --ctx")
        return Sample(
            key=key,
            prompt=text,
            answer_prefix="",
            targets=(),
            generation_tokens=0,
            prompt_tokens=len(self._tokenizer.encode_prompt(text)),
            scored_from=first[1],
        )

    def request(self, sample: Sample) -> Request:
        token_ids = tuple(self._tokenizer.encode_prompt(sample.prompt))
        return Request(sample.id, token_ids, 0, scored_from=len(token_ids) - self._scored_tokens(sample))

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Bits per byte of the window, with the sums behind it: nats, bytes and tokens, and those of copies."""
        if completion.log_probabilities is None:
            return Score(BITS_PER_BYTE, None)
        nats = [-value for value in completion.log_probabilities]
        copies = is_copy(self._tokenizer.encode(sample.prompt), self._settings.ngram)[-len(nats) :]
        measures = {
            "nats": math.fsum(nats),
            "tokens": float(len(nats)),
            "bytes": float(len(sample.prompt[sample.scored_from :].encode("utf-8"))),
            "copy_nats": math.fsum(value for value, copied in zip(nats, copies, strict=True) if copied),
            "copy_tokens": float(sum(copies)),
        }
        return Score(BITS_PER_BYTE, bits_per_byte(measures), measures=measures)

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summarize(self._settings, records)

    def _first_scored(self, text: str, start: int) -> tuple[int, int] | None:
        """Count of the tokens to score, and the character where they begin.

        They begin with the first token from `start` on that has a whole character or special token before it. None if
        there is no such token.
        """
        token_ids, offsets = self._tokenizer.encode_with_offsets(text)
        nothing_before = len(self._tokenizer.encode_prompt(text)) == len(token_ids)
        if offsets and nothing_before:
            start = max(start, offsets[0][1])
        begins = ((len(offsets) - index, begin) for index, (begin, _) in enumerate(offsets) if begin >= start)
        return next(begins, None)

    def _scored_tokens(self, sample: Sample) -> int:
        first = self._first_scored(sample.prompt, sample.scored_from or 0)
        if first is None:
            raise ValueError(f"{sample.id} has no token to score")
        return first[0]

    def _all_windows(self) -> tuple[Window, ...]:
        if self._windows is None:
            windows = cut_windows(self._source, self._tokenizer, self._size)
            long_enough = (window for window in windows if window.tokens >= self._least_tokens)
            self._windows = tuple(islice(long_enough, self._settings.samples))
        return self._windows
