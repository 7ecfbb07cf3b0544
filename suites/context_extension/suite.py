"""The checks of a context extension as one suite: a grid of RULER samples, long documents, and short ones."""

from collections.abc import Sequence

from evalkit.errors import UsageError
from evalkit.records import Completion, Request, Sample, SampleKey, SampleRecord, Score, SuitePlan, SuiteSummary
from evalkit.running.protocols import Suite, Tokenizer
from suites.context_extension.depth_grid import spread_keys
from suites.context_extension.position_loss import LONG_TEXT, SHORT_TEXT, bucket_measures
from suites.context_extension.settings import ExtensionSettings
from suites.context_extension.summary import summarize
from suites.mmlu import MmluSuite
from suites.ruler import RulerCorpora, RulerSettings, RulerSuite
from suites.text_loss import TextLossSettings, TextLossSuite
from suites.text_loss.sources import Source, question_settings

FULL_SHARE = 0.9
"""A document counts as long where it fills this much of the context."""


class ContextExtensionSuite:
    """RULER samples by length and needle depth, the loss of long and of short documents, and MMLU where it is asked.

    RULER's samples are its own, so its version is part of this suite's.
    """

    name = "extend"

    def __init__(
        self,
        settings: ExtensionSettings,
        tokenizer: Tokenizer,
        source: Source,
        corpora: RulerCorpora,
        *,
        mmlu: MmluSuite | None = None,
    ) -> None:
        """`mmlu` is the part that `settings.mmlu` asks for."""
        self._settings = settings
        self._tokenizer = tokenizer
        self._source = source
        self._ruler = RulerSuite(
            RulerSettings.of(ctx=settings.ctxs, tasks=settings.tasks, samples=1, seed=settings.seed),
            tokenizer,
            corpora,
        )
        self._texts = {
            LONG_TEXT: self._text_suite(settings.ctx, least_tokens=int(FULL_SHARE * settings.ctx)),
            SHORT_TEXT: self._text_suite(settings.short_ctx, least_tokens=int(FULL_SHARE * settings.short_ctx)),
        }
        self._mmlu = mmlu
        self._subjects = frozenset(settings.mmlu.subjects if settings.mmlu is not None else ())

    @property
    def version(self) -> str:
        """The versions of what is asked."""
        parts = f"1+ruler-{RulerSuite.version}+loss-{TextLossSuite.version}"
        return parts if self._mmlu is None else f"{parts}+mmlu-{MmluSuite.version}"

    @property
    def dialect(self) -> str:
        return self._ruler.dialect

    def plan(self) -> SuitePlan:
        """Keys by length, then the documents. Raises UsageError where no document is long enough."""
        settings, ruler = self._settings, self._ruler.plan()
        left_out = {(cell.task, cell.ctx) for cell in ruler.unscored}
        keys = [
            key
            for ctx in settings.ctxs
            for task in settings.tasks
            if (task, ctx) not in left_out
            for key in spread_keys(task, ctx, settings.seed, samples=settings.samples, bins=settings.depths)
        ]
        for task, ctx in ((SHORT_TEXT, settings.short_ctx), (LONG_TEXT, settings.ctx)):
            keys += [SampleKey(task, ctx, index, settings.seed) for index in range(self._document_count(task, ctx))]
        corpora = dict.fromkeys((*ruler.corpora, self._source.use))
        if self._mmlu is not None:
            questions = self._mmlu.plan()
            keys += questions.keys
            corpora |= dict.fromkeys(questions.corpora)
        return SuitePlan(
            keys=tuple(keys),
            unscored=ruler.unscored,
            corpora=tuple(corpora),
            question_settings=question_settings(settings.path, settings.field),
        )

    def sample(self, key: SampleKey) -> Sample:
        return self._part(key).sample(key)

    def request(self, sample: Sample) -> Request:
        return self._part(sample.key).request(sample)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """The part's own score; a long document's also has its sums by bucket of position."""
        score = self._part(sample.key).score(sample, completion)
        if sample.key.task != LONG_TEXT or completion.log_probabilities is None:
            return score
        nats = [-value for value in completion.log_probabilities]
        token_bytes = self._token_bytes(sample.prompt)[-len(nats) :]
        first_position = sample.prompt_tokens - len(nats)
        by_bucket = bucket_measures(nats, token_bytes, first_position, sample.key.ctx)
        return Score(score.metric, score.value, measures={**score.measures, **by_bucket})

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summarize(self._settings, records)

    def _part(self, key: SampleKey) -> Suite:
        if self._mmlu is not None and key.task in self._subjects:
            return self._mmlu
        return self._texts.get(key.task, self._ruler)

    def _text_suite(self, ctx: int, *, least_tokens: int) -> TextLossSuite:
        settings = TextLossSettings.of(ctx=ctx, samples=self._settings.windows)
        return TextLossSuite(settings, self._tokenizer, self._source, least_tokens=least_tokens)

    def _document_count(self, task: str, ctx: int) -> int:
        count = self._texts[task].window_count()
        if count == 0:
            raise UsageError(
                f"{self._source.use.name} holds no document of {ctx:,} tokens; name a longer text with --text"
            )
        return count

    def _token_bytes(self, text: str) -> list[int]:
        _, offsets = self._tokenizer.encode_with_offsets(text)
        begins = [begin for begin, _ in offsets]
        return [
            len(text[begin:end].encode("utf-8")) for begin, end in zip(begins, [*begins[1:], len(text)], strict=True)
        ]
