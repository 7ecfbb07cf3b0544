"""MMLU as a suite: the most probable of four choices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import Asked, Completion, Sample, SampleKey, SampleRecord, Score, SuitePlan, SuiteSummary
from evalkit.running.chat import Chat
from evalkit.running.model_options import RAW, ChatMode, ChatOptions
from evalkit.running.protocols import Tokenizer
from evalkit.running.text_requests import PROBES, SharedPrefix, TextRequests
from suites.mmlu.prompt import ANSWER, ask, choices, conversation, header, labels, right_choice
from suites.mmlu.questions import Question, QuestionSource, SubjectQuestions
from suites.mmlu.settings import SEED, MmluSettings
from suites.mmlu.summary import ACC, summarize


@dataclass(frozen=True, slots=True)
class AskedQuestion(Asked):
    """A question with one continuation per choice, in one request."""

    question: Question


class MmluSuite:
    """Questions in the order of the data; the answer is the most probable choice.

    The prompts of a subject share their worked examples as a prefix, which the engine can cache.
    """

    name = "mmlu"
    version = "1"

    def __init__(
        self,
        settings: MmluSettings,
        tokenizer: Tokenizer,
        max_tokens: int | None,
        source: QuestionSource,
        chat: ChatOptions = RAW,
    ) -> None:
        """Questions longer than `max_tokens` are left out, never truncated."""
        self._settings, self._source = settings, source
        self._chat, self._mode = Chat(tokenizer, chat), chat.mode
        self._texts = TextRequests(tokenizer, max_tokens=max_tokens)
        self._loaded: dict[str, SubjectQuestions] = {}
        self._prefixes: dict[str, SharedPrefix | None] = {}

    @property
    def dialect(self) -> str:
        """Scores with another number of shots, another variant or another convention of chat are not comparable."""
        name = f"{self._settings.shots}-shot {self._settings.variant}"
        return self._chat.dialect(name, single_turn=not self._settings.multiturn)

    def plan(self) -> SuitePlan:
        """Keys by subject; reads all questions. Raises UsageError if a subject has too few for that many shots."""
        subjects = self._settings.subjects
        keys = tuple(
            SampleKey(subject, 0, index, SEED) for subject in subjects for index in range(len(self._asked(subject)))
        )
        corpora = tuple(self._questions(subject).use(subject) for subject in subjects)
        return SuitePlan(keys=keys, unscored=(), corpora=corpora, log_probabilities=True, prefix_tasks=subjects)

    def ask(self, key: SampleKey) -> AskedQuestion:
        """Question number `key.index` of the subject. Raises SampleDoesNotFitError if it is too long."""
        question, variant = self._asked(key.task)[key.index], self._settings.variant
        prompt = self._prompt(key.task, question)
        # The assistant's empty turn needs no space before the answer.
        space = " " if self._mode is ChatMode.USER else ""
        pairs = [(prompt, choice.removeprefix(space)) for choice in choices(question, variant)]
        try:
            (request,) = self._texts.continuations(key.id, pairs, self._prefix(key.task))
        except SampleDoesNotFitError as error:
            raise SampleDoesNotFitError(f"question {key.index} of {key.task}: {error}") from None
        sample = Sample(
            key=key,
            prompt=prompt,
            answer_prefix="" if self._mode is ChatMode.USER else ANSWER,
            targets=(labels(question, variant)[question.answer],),
            generation_tokens=0,
            prompt_tokens=len(request.token_ids),
            metric=ACC,
            evidence=right_choice(prompt, question, variant),
        )
        return AskedQuestion(sample, (request,), question)

    def judge(self, asked: AskedQuestion, completion: Completion) -> Score:
        """1 if the right choice is the most probable; of equally probable choices the first counts."""
        question, variant = asked.question, self._settings.variant
        nats = [score.log_probability for score in completion.continuations or ()]
        answers = labels(question, variant)
        chosen = nats.index(max(nats))
        right = chosen == question.answer
        measures = {}
        if variant == "cloze":
            # An empty choice, which the hub's data may have, is never the most probable by length, as in lm-eval.
            by_length = [
                value / len(choice) if choice else -math.inf for value, choice in zip(nats, answers, strict=True)
            ]
            measures["acc_norm"] = float(by_length.index(max(by_length)) == question.answer)
        return Score(float(right), None if right else "wrong_choice", measures, prediction=answers[chosen])

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summarize(self._settings, records)

    def _prompt(self, subject: str, question: Question) -> str:
        examples = self._questions(subject).dev[: self._settings.shots]
        variant, prefill = self._settings.variant, self._mode is ChatMode.PREFILL
        if self._mode is ChatMode.OFF:
            return header(subject, examples, variant) + ask(question, variant)
        messages = conversation(
            subject, examples, question, variant, prefill=prefill, multiturn=self._settings.multiturn
        )
        return self._chat.conversation(messages, add_generation_prompt=not prefill)

    def _prefix(self, subject: str) -> SharedPrefix | None:
        """The prefix shared by the prompts of a subject, found from some spread evenly over them."""
        if subject not in self._prefixes:
            asked = self._asked(subject)
            probes = dict.fromkeys(index * len(asked) // PROBES for index in range(PROBES))
            prompts = (self._prompt(subject, asked[index]) for index in probes)
            self._prefixes[subject] = self._texts.shared_prefix(f"{self.name}/{subject}/{self.dialect}", prompts)
        return self._prefixes[subject]

    def _asked(self, subject: str) -> tuple[Question, ...]:
        return self._questions(subject).test[: self._settings.samples]

    def _questions(self, subject: str) -> SubjectQuestions:
        if subject not in self._loaded:
            self._loaded[subject] = load_subject(self._source, subject, self._settings.shots)
        return self._loaded[subject]


def load_subject(source: QuestionSource, subject: str, shots: int) -> SubjectQuestions:
    """The questions of a subject; UsageError if there are none, or fewer than `shots` examples."""
    loaded = source.load(subject)
    if not loaded.test:
        raise UsageError(f"{loaded.source}: {subject} has no test question")
    if len(loaded.dev) < shots:
        raise UsageError(
            f"{shots} shots: {subject} has {len(loaded.dev)} dev examples in {loaded.source}; lower --shots"
        )
    return loaded
