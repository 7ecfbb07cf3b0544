"""The state-tracking suite; questions depend only on task, number of updates, index and seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.records import (
    Asked,
    Completion,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
    SuiteSummary,
)
from evalkit.running.chat import Chat
from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from suites.corpora import Essays
from suites.draws import Draws
from suites.state_tracking.episode import Episode, Task
from suites.state_tracking.prompt import DistractedPrompt, fill, plain_prompt
from suites.state_tracking.scoring import METRIC, score_answer
from suites.state_tracking.settings import NO_CTX, StateTrackingSettings
from suites.state_tracking.summary import summarize
from suites.state_tracking.tasks import row_name, split_row_name

GENERATION_TOKENS = 16
"""Maximum new tokens: one word in any tokenizer, as a base model does not stop after its answer."""
EXAMPLE_UPDATES = 6
"""Maximum number of updates in a worked example, and never more than in the question."""


@dataclass(frozen=True, slots=True)
class AskedEpisode(Asked):
    """A question with the opening of its answer."""

    opening: str


class StateTrackingSuite:
    """State tracking in text, with exact match.

    The question of a key does not depend on tokenizer, context and distractor text; a context above 0 is filled with
    prose.
    """

    name = "track"
    version = "2"
    """Raised with every change to the prompt of a key or to the score of an answer."""

    def __init__(
        self,
        settings: StateTrackingSettings,
        tokenizer: Tokenizer,
        prose: Essays | None,
        chat: ChatOptions = RAW,
    ) -> None:
        self._settings = settings
        self._chat = Chat(tokenizer, chat)
        self._prose = prose

    @property
    def dialect(self) -> str:
        """The number of worked examples and the convention of chat: scores with others are not comparable."""
        return self._chat.dialect(f"{self._settings.shots}-shot")

    def plan(self) -> SuitePlan:
        settings = self._settings
        keys = tuple(
            SampleKey(row_name(task, updates), ctx, index, settings.seed)
            for ctx in settings.ctxs
            for task in settings.tasks
            for updates in settings.updates
            for index in range(settings.samples)
        )
        return SuitePlan(keys=keys, unscored=(), corpora=() if self._prose is None else (self._prose.use,))

    def ask(self, key: SampleKey) -> AskedEpisode:
        """The question of `key`, whose task is named with its number of updates: `parity:64`.

        Any task, number of updates and context is possible, not only those of the settings. Raises
        SampleDoesNotFitError, UsageError for an unknown task, and ValueError for a context without prose to fill it.
        """
        task, updates = split_row_name(key.task)
        episode = task.draw(_draws("question", key), updates)
        examples = self._examples(task, updates, key)
        budget = self._chat.budget(GENERATION_TOKENS, episode.question)
        distracted = self._distracted(task, examples, episode, key)
        if distracted is None:
            text = plain_prompt(task, examples, episode)
            prompt = self._chat.render(text.removesuffix(episode.question), episode.question)
        else:
            prompt = fill(distracted, self._chat, key.ctx - budget)
        sample = Sample(
            key=key,
            prompt=prompt.text,
            answer_prefix=prompt.opening,
            targets=(episode.answer,),
            generation_tokens=budget,
            prompt_tokens=len(prompt.token_ids),
            metric=METRIC,
            distractors=episode.alternatives,
        )
        return AskedEpisode(sample, (self._chat.request(key.id, prompt, budget),), episode.question)

    def judge(self, asked: AskedEpisode, completion: Completion) -> Score:
        sample, text = asked.sample, self._chat.answer(completion.text, asked.opening)
        return score_answer(text, sample.targets[0], sample.distractors, completion.finish_reason)

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summarize(self._settings, records)

    def _examples(self, task: Task, updates: int, key: SampleKey) -> list[Episode]:
        draws = _draws("examples", key)
        return [task.draw(draws, min(updates, EXAMPLE_UPDATES)) for _ in range(self._settings.shots)]

    def _distracted(
        self, task: Task, examples: Sequence[Episode], episode: Episode, key: SampleKey
    ) -> DistractedPrompt | None:
        """The question among prose; None if it stands alone."""
        if key.ctx == NO_CTX:
            return None
        if self._prose is None:
            raise ValueError(f"{key.id} needs prose to fill its context; build the suite with prose")
        return DistractedPrompt.draw(_draws("prose", key), task, examples, episode, self._prose.sentences)


def _draws(role: str, key: SampleKey) -> Draws:
    """The random draws for one role in one sample: independent of its context and of other roles."""
    return Draws("track", role, key.task, key.index, key.seed)
