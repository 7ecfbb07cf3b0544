"""RULER as a suite: its samples, and the judgement of answers."""

from collections.abc import Sequence
from typing import Any

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import (
    Asked,
    Completion,
    CorpusUse,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
    SuiteSummary,
    UnscoredCell,
)
from evalkit.running.chat import Chat
from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from suites.draws import Draws
from suites.ruler import metrics, summary, tasks
from suites.ruler.common_words import CommonWordsDraft
from suites.ruler.corpora import LoadedCorpora, RulerCorpora
from suites.ruler.failures import failure_kind
from suites.ruler.fitting import Draft, fit, misfit, smallest_tokens
from suites.ruler.frequent_words import FrequentWordsDraft
from suites.ruler.haystacks import EssayHaystack, NeedleHaystack, NoiseHaystack, SentenceTokens
from suites.ruler.measure import Measure
from suites.ruler.needles import NeedleDraft, draw_needles
from suites.ruler.questions import DocumentTokens, QuestionDraft, question_index
from suites.ruler.settings import RulerSettings
from suites.ruler.variable_tracking import VariableDraft
from suites.ruler.words import words_use

VERSION = "2"
"""Raised with every change to the prompt of a key or to the score of an answer."""


def judge(dialect: tasks.Dialect, sample: Sample, completion: Completion) -> Score:
    """RULER's metric of one answer."""
    metric = tasks.metric(dialect, sample.key.task)
    prediction = metrics.postprocess(completion.text)
    value = metrics.value_of(metrics.found(prediction, sample.targets, metric), metric)
    return Score(value, None if value == 1 else failure_kind(sample, completion, metric))


class RulerJudge:
    """What native and prepared RULER samples share: scores and the table."""

    name = "ruler"
    version = VERSION

    def __init__(self, dialect: tasks.Dialect, chat: Chat) -> None:
        self._dialect: tasks.Dialect = dialect
        self._chat = chat

    @property
    def dialect(self) -> str:
        """The dialect of prompts and metrics, with the convention of chat."""
        return self._chat.dialect(self._dialect)

    def _budget(self, key: SampleKey, opening: str) -> int:
        """Maximum number of new tokens."""
        return self._chat.budget(tasks.generation_tokens(self._dialect, key.task, key.ctx), opening)

    def judge(self, asked: Asked, completion: Completion) -> Score:
        """RULER's metric of the one answer."""
        return judge(self._dialect, asked.sample, completion)

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summary.summarize(records)


class RulerSuite(RulerJudge):
    """Native samples: each is a function of its key, the dialect, the corpora, the tokenizer and its chat template."""

    def __init__(
        self,
        settings: RulerSettings,
        tokenizer: Tokenizer,
        corpora: RulerCorpora,
        chat: ChatOptions = RAW,
    ) -> None:
        super().__init__(settings.dialect, Chat(tokenizer, chat))
        self._settings = settings
        self._corpora = LoadedCorpora(corpora)
        self._measure = Measure(self._chat)

    def plan(self) -> SuitePlan:
        """All keys, by length and task; a cell that no sample fits is listed as left out.

        Raises UsageError if no requested cell fits.
        """
        keys: list[SampleKey] = []
        unscored: list[UnscoredCell] = []
        for ctx in self._settings.ctxs:
            for task in self._settings.tasks:
                of_cell = [SampleKey(task, ctx, index, self._settings.seed) for index in range(self._samples)]
                reason = self._misfit(of_cell)
                if reason is None:
                    keys += of_cell
                else:
                    unscored.append(UnscoredCell(task, ctx, reason))
        if not keys:
            first = unscored[0]
            raise UsageError(f"{first.task} does not fit --ctx {first.ctx:,}: {first.reason}; use a longer one")
        return SuitePlan(tuple(keys), tuple(unscored), self._corpora_used())

    def ask(self, key: SampleKey) -> Asked:
        """The sample of `key`, even if it is not in the plan. Raises SampleDoesNotFitError."""
        draft = self._draft(key)
        opening = tasks.opening(self._dialect, draft.prefix)
        budget = self._budget(key, opening)
        fitted = fit(draft, opening, key.ctx - budget, self._measure)
        prompt, start = fitted.prompt, fitted.prompt.question_start
        evidence = tuple((start + first, start + end) for first, end in fitted.layout.evidence)
        sample = Sample(
            key=key,
            prompt=prompt.text,
            answer_prefix=prompt.opening,
            targets=draft.targets,
            generation_tokens=budget,
            prompt_tokens=len(prompt.token_ids),
            metric=tasks.metric(self._dialect, key.task),
            depths=fitted.layout.depths,
            gold_positions=fitted.layout.gold_positions,
            distractors=fitted.layout.distractors,
            evidence=evidence or tasks.evidence(key.task, prompt.text, draft.targets),
        )
        return Asked(sample, (self._chat.request(key.id, prompt, budget),))

    @property
    def _samples(self) -> int:
        if self._settings.samples is None:
            raise UsageError("the number of samples is missing; give --samples")
        return self._settings.samples

    def _misfit(self, keys: Sequence[SampleKey]) -> str | None:
        """Why none of `keys` fits its length; None if one does."""
        reason = None
        for key in keys:
            draft = self._draft(key)
            opening = tasks.opening(self._dialect, draft.prefix)
            limit = key.ctx - self._budget(key, opening)
            try:
                least = smallest_tokens(draft, opening, self._measure)
            except SampleDoesNotFitError as error:
                reason = reason or str(error)
                continue
            if least <= limit:
                return None
            reason = reason or str(misfit(least, limit))
        return reason

    def _corpora_used(self) -> tuple[CorpusUse, ...]:
        roles = tasks.haystack_corpora(self._settings.tasks)
        return (*(self._corpora.use(role) for role in roles), words_use())

    def _draft(self, key: SampleKey) -> Draft[Any]:
        if key.task in tasks.NEEDLE_TASKS:
            return self._needle_draft(key, tasks.NEEDLE_TASKS[key.task])
        if key.task in tasks.QA_CORPORA:
            return self._question_draft(key, tasks.QA_CORPORA[key.task])
        if key.task == "vt":
            return VariableDraft(_draws(key, "content"), self._measure)
        if key.task == "cwe":
            return CommonWordsDraft(key.ctx, _draws(key, "content"), _draws(key, "order"), self._measure)
        if key.task == "fwe":
            return FrequentWordsDraft(key.ctx, _draws(key, "content"), _draws(key, "order"), self._measure)
        raise ValueError(f"no such task: {key.task!r}")

    def _needle_draft(self, key: SampleKey, task: tasks.NeedleTask) -> Draft[Any]:
        taken: set[str] = set()
        needles = draw_needles(task, _draws(key, "content"), taken)
        if task.haystack == "essays":
            return NeedleDraft(task, needles, self._essay_haystack(_draws(key, "haystack")))
        if task.haystack == "noise":
            return NeedleDraft(task, needles, NoiseHaystack(self._measure))
        lines = NeedleHaystack(task.key_kind, task.value_kind, _draws(key, "haystack"), taken, self._measure)
        return NeedleDraft(task, needles, lines)

    def _essay_haystack(self, draws: Draws) -> EssayHaystack:
        sentences = self._corpora.essays.sentences
        tokens = self._measure.kept.setdefault("sentences", SentenceTokens(sentences, self._measure))
        return EssayHaystack(tokens, draws.below(len(sentences)))

    def _question_draft(self, key: SampleKey, role: str) -> QuestionDraft:
        corpus = self._corpora.questions(role)
        tokens = self._measure.kept.setdefault(role, DocumentTokens(corpus, self._measure))
        index = question_index(len(corpus.questions), Draws(key.seed, key.task, "questions"), key.index)
        return QuestionDraft(corpus.questions[index], tokens, _draws(key, "content"), _draws(key, "order"))


def _draws(key: SampleKey, purpose: str) -> Draws:
    """The random draws of one sample for one purpose, independent of those for other purposes."""
    return Draws(key.seed, key.task, key.ctx, key.index, purpose)
