"""Samples of the suites as rows of tokens in which the answers to learn are marked."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evalkit.records import Asked, Sample, SampleKey
from evalkit.running.protocols import Suite, Tokenizer
from model_adapters.reference import curriculum
from model_adapters.reference.answers import answer_text, follow_ups, solved_pieces
from model_adapters.reference.architecture import EOS_ID
from model_adapters.reference.running_states import running_states

FOLLOW_UPS = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer tokens [start, end) of one question in a row."""

    task: str
    start: int
    end: int
    also: tuple[tuple[int, int], ...] = ()
    """(place, token) of tokens that would be as right at a place as the actual one."""

    def moved(self, offset: int) -> "Answer":
        """The same answer `offset` tokens further on."""
        also = tuple((place + offset, token) for place, token in self.also)
        return Answer(self.task, self.start + offset, self.end + offset, also)


@dataclass(frozen=True, slots=True)
class State:
    """The name of a state, a token to be predicted at a place independent of the following text."""

    task: str
    place: int
    token: int


@dataclass(slots=True)
class Row:
    """Tokens with the answers and states among them, and the spans [start, end) of text that practises counting."""

    token_ids: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    counted: list[tuple[int, int]] = field(default_factory=list)

    def add_answer(self, task: str, token_ids: Sequence[int], also: Sequence[tuple[int, int]] = ()) -> None:
        """Append the tokens of an answer; places in `also` count from its first token."""
        start = len(self.token_ids)
        self.token_ids.extend(token_ids)
        self.answers.append(Answer(task, 0, len(token_ids), tuple(also)).moved(start))


def join(parts: Sequence[Row]) -> Row:
    """Parts one after another in one row; nothing resets a model's state between them."""
    row = Row()
    for part in parts:
        offset = len(row.token_ids)
        row.token_ids += part.token_ids
        row.answers += [answer.moved(offset) for answer in part.answers]
        row.states += [State(state.task, state.place + offset, state.token) for state in part.states]
        row.counted += [(start + offset, end + offset) for start, end in part.counted]
    return row


def ruler_part(asked: Asked, tokenizer: Tokenizer, rng: random.Random) -> Row | None:
    """A sample, its answer and its follow-ups within the sample's length; None if the answer exceeds its budget."""
    sample = asked.sample
    task, ctx = sample.key.task, sample.key.ctx
    row = Row(list(asked.requests[0].token_ids))
    if task in curriculum.COUNTING:
        row.counted.append((0, len(row.token_ids)))
    answer_ids, also = _answer_tokens(sample, tokenizer)
    if len(answer_ids) > sample.generation_tokens or len(row.token_ids) + len(answer_ids) + 1 > ctx:
        return None
    row.add_answer(task, [*answer_ids, EOS_ID], also)
    if task.startswith("niah"):
        for count, (opening, text) in enumerate(follow_ups(sample, rng)):
            opening_ids, answer_ids = tokenizer.encode(opening), tokenizer.encode(text)
            if count == FOLLOW_UPS or len(row.token_ids) + len(opening_ids) + len(answer_ids) + 1 > ctx:
                break
            row.token_ids += opening_ids
            row.add_answer(f"{task}+", [*answer_ids, EOS_ID])
    return row


def _answer_tokens(sample: Sample, tokenizer: Tokenizer) -> tuple[list[int], list[tuple[int, int]]]:
    """The answer's tokens, and which others would do.

    The common words of cwe can be listed in any order, so any later word is also right at each place.
    """
    if sample.key.task != "cwe":
        return tokenizer.encode(answer_text(sample)), []
    words = [tokenizer.encode(f" {word}") for word in sample.targets]
    token_ids: list[int] = []
    also: list[tuple[int, int]] = []
    for rank, word in enumerate(words):
        token_ids += tokenizer.encode(f" {rank + 1}.")
        also += [(len(token_ids), later[0]) for later in words[rank + 1 :]]
        token_ids += word
    return token_ids, also


def track_part(suite: Suite[Asked], tokenizer: Tokenizer, length: int, next_key: Callable[[], SampleKey]) -> Row:
    """State-tracking episodes one after another, as many as fit `length`; worked examples are answers too."""
    row = Row()
    while True:
        key = next_key()
        episode = _episode(suite.ask(key).sample, tokenizer)
        if len(row.token_ids) + len(episode.token_ids) <= length:
            row = join([row, episode])
        elif row.answers or key.task.endswith(":4"):
            return row


def _episode(sample: Sample, tokenizer: Tokenizer) -> Row:
    row, task = Row(), sample.key.task.partition(":")[0]
    *_, last = pieces = list(solved_pieces(sample))
    for text, answer in pieces:
        token_ids, offsets = tokenizer.encode_with_offsets(text)
        ends = {end: len(row.token_ids) + index for index, (_, end) in enumerate(offsets)}
        row.states += [State(task, ends[end], _name(state, tokenizer)) for end, state in running_states(task, text)]
        row.token_ids += token_ids
        row.add_answer(task, [*tokenizer.encode(answer), *([EOS_ID] if text == last[0] else [])])
    return row


def _name(state: str, tokenizer: Tokenizer) -> int:
    """The one token that names a state; for a digit the digit itself, because the space before it is a token."""
    token_ids = tokenizer.encode(f" {state}")
    return token_ids[-1] if state.isdigit() else token_ids[0]
