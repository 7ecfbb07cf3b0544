"""cwe: find the ten most frequent words of a numbered list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from suites.draws import Draws
from suites.ruler import words
from suites.ruler.fitting import Layout
from suites.ruler.measure import Measure
from suites.ruler.tasks import PUBLISHED_SHORTEST

TEMPLATE = (
    "Below is a numbered list of words. In these words, some appear more often than others. "
    "Memorize the ones that appear most often.\n{context}\n"
    "Question: What are the 10 most common words in the above list?"
)
PREFIX = " Answer: The top 10 words that appear most often in the list are:"
COMMON = 10
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Repeats:
    """Frequencies of common and other words in the list, and in the worked example with its `example_words`."""

    common: int
    other: int
    example_common: int
    example_other: int
    example_words: int


FULL = Repeats(common=30, other=3, example_common=10, example_other=3, example_words=40)
SHORT = Repeats(common=6, other=1, example_common=3, example_other=1, example_words=20)
"""Frequencies of the original below its shortest length."""


class CommonWordsDraft:
    """A cwe sample whose size, the number of different words, is not yet decided."""

    smallest = COMMON + 1
    prefix = PREFIX

    def __init__(self, ctx: int, draws: Draws, order: Draws, measure: Measure) -> None:
        """`draws` gives the words and the worked example; `order` shuffles the list."""
        self._repeats = FULL if ctx >= PUBLISHED_SHORTEST else SHORT
        example = list(islice(_word_stream(draws), self._repeats.example_words))
        self._example_common = tuple(example[:COMMON])
        items = repeated(example, self._repeats.example_common, self._repeats.example_other)
        draws.shuffle(items)
        self._example = TEMPLATE.format(context=numbered(items)) + f"{PREFIX} {numbered(self._example_common)}\n"
        self._stream = _word_stream(draws)
        self._words = list(islice(self._stream, self.smallest))
        self._keys = order
        self._order_keys: list[float] = []
        self._measure = measure
        self.targets = tuple(self._words[:COMMON])

    def largest(self, tokens: int) -> int:
        size, items = self.smallest, COMMON * self._repeats.common + self._repeats.other
        numbers, costs = ListNumbers.of(self._measure), WordTokens.of(self._measure)
        while True:
            if size >= len(self._words):
                self._words.append(next(self._stream))
            tokens -= self._repeats.other * costs[self._words[size]]
            tokens -= sum(numbers[item] for item in range(items, items + self._repeats.other))
            if tokens < 0:
                return size
            size += 1
            items += self._repeats.other

    def layout(self, size: int) -> Layout:
        items = repeated(self._words[:size], self._repeats.common, self._repeats.other)
        self._order_keys += [self._keys.fraction() for _ in range(len(items) - len(self._order_keys))]
        # Sort keys instead of a shuffle, so that the sample does not depend on the sizes tried before.
        order = sorted(range(len(items)), key=self._order_keys.__getitem__)
        context = numbered([items[index] for index in order])
        listed = set(self._words[:size])
        return Layout(
            self._example + TEMPLATE.format(context=context),
            distractors=tuple(word for word in self._example_common if word not in listed),
        )


def numbered(items: Sequence[str]) -> str:
    """`1. w 2. w …` on one line."""
    return " ".join(f"{number}. {item}" for number, item in enumerate(items, start=1))


def repeated(chosen: Sequence[str], common: int, other: int) -> list[str]:
    """The first ten of `chosen` `common` times each, the rest `other` times each."""
    return [*list(chosen[:COMMON]) * common, *list(chosen[COMMON:]) * other]


def _word_stream(draws: Draws) -> Iterator[str]:
    """The words of the lists without repeats, then adjective-noun pairs for lengths that need more words."""
    every = words.every_word()
    for index in draws.order(len(every)):
        yield every[index]
    yield from words.distinct("words", draws, set(every))


class WordTokens:
    """Tokens of a word after `N.`, including the space before it."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._before = measure.count("list")
        self._tokens: dict[str, int] = {}

    @staticmethod
    def of(measure: Measure) -> "WordTokens":
        if "words" not in measure.kept:
            measure.kept["words"] = WordTokens(measure)
        kept: WordTokens = measure.kept["words"]
        return kept

    def __getitem__(self, word: str) -> int:
        if word not in self._tokens:
            # One at a time, so that counts do not depend on earlier samples.
            self._tokens[word] = self._measure.count(f"list {word}") - self._before
        return self._tokens[word]


class ListNumbers:
    """Tokens of the number ` N.` of each list item, by its index from 0."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._tokens: list[int] = []

    @staticmethod
    def of(measure: Measure) -> "ListNumbers":
        kept: ListNumbers = measure.kept.setdefault("numbers", ListNumbers(measure))
        return kept

    def __getitem__(self, place: int) -> int:
        while place >= len(self._tokens):
            first = len(self._tokens) + 1
            units = [f"{number}. list" for number in range(first, first + _BLOCK)]
            (word,) = self._measure.unit_tokens(["list"], " ", before="list")
            self._tokens += [tokens - word for tokens in self._measure.unit_tokens(units, " ", before="list")]
        return self._tokens[place]
