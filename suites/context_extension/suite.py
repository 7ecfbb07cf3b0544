"""The checks of a context extension as one suite: a grid of RULER samples, long documents, and short ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evalkit.errors import UsageError
from evalkit.records import Asked, Completion, SampleKey, SampleRecord, Score, SuitePlan, SuiteSummary
from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Suite, Tokenizer
from suites.context_extension.depth_grid import spread_keys
from suites.context_extension.position_loss import LONG_TEXT, SHORT_TEXT, sums_by_position
from suites.context_extension.settings import ExtensionSettings
from suites.context_extension.summary import summarize
from suites.mmlu import MmluSuite
from suites.ruler import RulerCorpora, RulerSettings, RulerSuite
from suites.text_loss import TextLossSettings, TextLossSuite
from suites.text_loss.sources import Source, question_settings
from suites.text_loss.suite import AskedWindow

FULL_SHARE = 0.9
"""A document counts as long if it fills this share of the context."""


class ContextExtensionSuite:
    """RULER samples by length and needle depth, the loss of long and of short documents, and MMLU if requested.

    The samples are RULER's, so RULER's version is part of this suite's.
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
        chat: ChatOptions = RAW,
    ) -> None:
        """`mmlu` is the suite of `settings.mmlu`; `chat` is the convention of the needles; documents are raw text."""
        self._settings = settings
        self._source = source
        self._ruler = RulerSuite(
            RulerSettings.of(ctx=settings.ctxs, tasks=settings.tasks, samples=1, seed=settings.seed),
            tokenizer,
            corpora,
            chat,
        )
        self._texts = {
            task: TextLossSuite(
                TextLossSettings.of(ctx=ctx, samples=settings.windows),
                tokenizer,
                source,
                least_tokens=int(FULL_SHARE * ctx),
            )
            for task, ctx in ((LONG_TEXT, settings.ctx), (SHORT_TEXT, settings.short_ctx))
        }
        self._mmlu = mmlu
        self._subjects = frozenset(settings.mmlu.subjects if settings.mmlu is not None else ())

    @property
    def version(self) -> str:
        """The versions of all parts."""
        parts = f"1+ruler-{RulerSuite.version}+loss-{TextLossSuite.version}"
        return parts if self._mmlu is None else f"{parts}+mmlu-{MmluSuite.version}"

    @property
    def dialect(self) -> str:
        return self._ruler.dialect

    def plan(self) -> SuitePlan:
        """Keys by length, then the documents. Raises UsageError if no document is long enough."""
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
        prefix_tasks: tuple[str, ...] = ()
        if self._mmlu is not None:
            questions = self._mmlu.plan()
            keys += questions.keys
            corpora |= dict.fromkeys(questions.corpora)
            prefix_tasks = questions.prefix_tasks
        return SuitePlan(
            keys=tuple(keys),
            unscored=ruler.unscored,
            log_probabilities=True,
            corpora=tuple(corpora),
            question_settings=question_settings(settings.path, settings.field),
            prefix_tasks=prefix_tasks,
        )

    def ask(self, key: SampleKey) -> Asked:
        asked: Asked = self._part(key).ask(key)
        return asked

    def judge(self, asked: Asked, completion: Completion) -> Score:
        """The part's own score; that of a long document also has sums by position bucket."""
        key = asked.sample.key
        score = self._part(key).judge(asked, completion)
        if not isinstance(asked, AskedWindow) or key.task != LONG_TEXT:
            return score
        nats = [-value for value in completion.log_probabilities or ()]
        first_position = asked.sample.prompt_tokens - len(nats)
        return replace(score, positions=sums_by_position(nats, asked.token_bytes, first_position, key.ctx))

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summarize(self._settings, records)

    def _part(self, key: SampleKey) -> Suite[Any]:
        if self._mmlu is not None and key.task in self._subjects:
            return self._mmlu
        return self._texts.get(key.task, self._ruler)

    def _document_count(self, task: str, ctx: int) -> int:
        count = self._texts[task].window_count()
        if count == 0:
            raise UsageError(
                f"{self._source.use.name} holds no document of {ctx:,} tokens; give a longer text with --text"
            )
        return count
