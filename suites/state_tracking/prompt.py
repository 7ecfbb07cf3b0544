"""Prompts from episodes: instruction, worked examples, statements, and distractor text between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from evalkit.errors import SampleDoesNotFitError
from evalkit.running.chat import Chat, Prompt
from evalkit.running.protocols import Tokenizer
from suites.draws import Draws
from suites.state_tracking.episode import Episode, Task

DISTRACTOR_NOTE = "Sentences about other things stand in between; they change nothing."


def plain_prompt(task: Task, examples: Sequence[Episode], episode: Episode) -> str:
    """The prompt without distractor text."""
    return _with_examples(task.instruction, examples, _plain(episode))


def _with_examples(instruction: str, examples: Sequence[Episode], body: str) -> str:
    solved = [f"{_plain(example)} {example.answer}" for example in examples]
    return "\n\n".join([instruction, *solved, body])


def _plain(episode: Episode) -> str:
    opening = [" ".join(episode.opening)] if episode.opening else []
    return "\n".join([*opening, " ".join(episode.updates), episode.question])


@dataclass(frozen=True)
class DistractedPrompt:
    """A prompt with statements on separate lines among any number of consecutive sentences of prose."""

    task: Task
    examples: Sequence[Episode]
    episode: Episode
    sentences: Sequence[str]
    first_sentence: int
    """Index in `sentences` of the first sentence; after the last follows the first."""
    places: Sequence[float]
    """For each statement, the share of the prose before it; ascending."""

    @staticmethod
    def draw(
        draws: Draws, task: Task, examples: Sequence[Episode], episode: Episode, sentences: Sequence[str]
    ) -> "DistractedPrompt":
        """Statements at random places among prose from a random sentence on."""
        statements = len(episode.opening) + len(episode.updates)
        return DistractedPrompt(
            task=task,
            examples=examples,
            episode=episode,
            sentences=sentences,
            first_sentence=draws.below(len(sentences)),
            places=sorted(draws.fraction() for _ in range(statements)),
        )

    def sentence(self, number: int) -> str:
        """Sentence `number` of the prose, from 0."""
        return self.sentences[(self.first_sentence + number) % len(self.sentences)]

    def text(self, sentence_count: int) -> str:
        """The whole prompt with that many sentences of prose."""
        lines = []
        told = 0
        for statement, place in zip(self._statements, self.places, strict=True):
            before = int(place * (sentence_count + 1))
            lines += [self._prose(told, before), statement]
            told = before
        lines += [self._prose(told, sentence_count), self.episode.question]
        body = "\n".join(line for line in lines if line)
        return _with_examples(f"{self.task.instruction} {DISTRACTOR_NOTE}", self.examples, body)

    def _prose(self, start: int, end: int) -> str:
        return " ".join(self.sentence(number) for number in range(start, end))

    @cached_property
    def _statements(self) -> tuple[str, ...]:
        return (*self.episode.opening, *(self.task.marker + update for update in self.episode.updates))


def fill(prompt: DistractedPrompt, chat: Chat, prompt_tokens: int) -> Prompt:
    """The prompt with as many sentences as fit `prompt_tokens`, special tokens and chat template included.

    Raises SampleDoesNotFitError if the statements alone are longer.
    """
    bare = _rendered(prompt, chat, 0)
    least = len(bare.token_ids)
    if least > prompt_tokens:
        raise SampleDoesNotFitError(
            f"{prompt.task.name} with {len(prompt.episode.updates):,} updates needs {least:,} prompt tokens "
            f"and {max(prompt_tokens, 0):,} are left for it; raise --ctx"
        )
    count, budget = 0, prompt_tokens - least
    while (cost := _sentence_tokens(prompt, chat.tokenizer, count)) <= budget:
        budget -= cost
        count += 1
    # Token counts at seams differ slightly from those of separate sentences, in both directions.
    while count > 0:
        rendered = _rendered(prompt, chat, count)
        over = len(rendered.token_ids) - prompt_tokens
        if over <= 0:
            return rendered
        while over > 0 and count > 0:
            count -= 1
            over -= _sentence_tokens(prompt, chat.tokenizer, count)
    return bare


def _rendered(prompt: DistractedPrompt, chat: Chat, sentence_count: int) -> Prompt:
    opening = prompt.episode.question
    return chat.render(prompt.text(sentence_count).removesuffix(opening), opening)


def _sentence_tokens(prompt: DistractedPrompt, tokenizer: Tokenizer, number: int) -> int:
    # The leading space represents whatever separates the sentence from its neighbours.
    return len(tokenizer.encode(" " + prompt.sentence(number)))
