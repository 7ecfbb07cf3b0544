"""Haystacks: essays, a repeated noise line, or more needles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from suites.draws import Draws
from suites.ruler import words
from suites.ruler.measure import Measure

SizeT = TypeVar("SizeT")

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NEEDLE = "One of the special magic {kind} for {key} is: {value}."
_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Laid:
    """A haystack at one size."""

    units: list[str]
    distractors: tuple[str, ...] = ()
    """Values of needles that are not requested."""


class Haystack(Protocol[SizeT]):
    """Text of any size, in units between which needles are placed."""

    joint: str
    """Separator of units."""
    smallest: SizeT

    def largest(self, tokens: int) -> SizeT:
        """The largest size that adds at most `tokens` to the smallest."""
        ...

    def lay(self, size: SizeT) -> Laid: ...


class NoiseHaystack:
    """One repeated line; a size is a number of lines."""

    joint = "\n"
    smallest = 1

    def __init__(self, measure: Measure) -> None:
        self._measure = measure

    def largest(self, tokens: int) -> int:
        return self.smallest + self.lines(tokens)

    def lay(self, size: int) -> Laid:
        return Laid([NOISE] * size)

    def lines(self, tokens: int) -> int:
        """The largest number of lines with at most `tokens` tokens."""
        kept = self._measure.kept
        if "noise" not in kept:
            kept["noise"] = max(self._measure.unit_tokens([NOISE] * 4, self.joint, before=NOISE))
        return tokens // int(kept["noise"])


class NeedleHaystack:
    """Needles that are not requested, one per line; a size is a number of lines.

    No key or value repeats within the sample, so the question has one answer.
    """

    joint = "\n"
    smallest = 1

    def __init__(self, key_kind: str, value_kind: str, draws: Draws, taken: set[str], measure: Measure) -> None:
        """`taken` are the requested keys and values."""
        self._kind = value_kind
        self._pairs = self._stream(key_kind, value_kind, draws, taken)
        self._values: list[str] = []
        self._lines: list[str] = []
        self._tokens: list[int] = []
        self._measure = measure

    def largest(self, tokens: int) -> int:
        size, used = self.smallest, 0
        while True:
            if size >= len(self._tokens):
                per_line = sum(self._tokens) // len(self._tokens) if self._tokens else 64
                self._extend(max(8, (tokens - used) // per_line + 1))
            if used + self._tokens[size] > tokens:
                return size
            used += self._tokens[size]
            size += 1

    def lay(self, size: int) -> Laid:
        if size > len(self._lines):
            self._extend(size - len(self._lines))
        return Laid(self._lines[:size], tuple(self._values[:size]))

    def _extend(self, count: int) -> None:
        pairs = list(islice(self._pairs, count))
        lines = [NEEDLE.format(kind=self._kind, key=key, value=value) for key, value in pairs]
        before = self._lines[-1] if self._lines else lines[0]
        self._tokens += self._measure.unit_tokens(lines, self.joint, before=before)
        self._values += [value for _, value in pairs]
        self._lines += lines

    @staticmethod
    def _stream(key_kind: str, value_kind: str, draws: Draws, taken: set[str]) -> Iterator[tuple[str, str]]:
        keys, values = words.distinct(key_kind, draws, taken), words.distinct(value_kind, draws, taken)
        while True:
            yield next(keys), next(values)


class SentenceTokens:
    """Token counts of the sentences of an essay corpus, counted by blocks when first needed."""

    def __init__(self, sentences: Sequence[str], measure: Measure) -> None:
        self.sentences = sentences
        self.measure = measure
        self._blocks: dict[int, list[int]] = {}

    def __getitem__(self, index: int) -> int:
        """Tokens of a sentence with the space before it."""
        block, place = divmod(index, _BLOCK)
        if block not in self._blocks:
            units = self.sentences[block * _BLOCK : (block + 1) * _BLOCK]
            self._blocks[block] = self.measure.unit_tokens(units, " ", before="So it is.")
        return self._blocks[block][place]


class EssayHaystack:
    """Prose from a given sentence on, cyclically; a size is (whole sentences, words of the next).

    The last sentence may be cut between two words, as in the original, so that a long one wastes no room.
    """

    joint = " "
    smallest = (0, 1)

    def __init__(self, tokens: SentenceTokens, start: int) -> None:
        self._tokens = tokens
        self._start = start

    def largest(self, tokens: int) -> tuple[int, int]:
        whole = 0
        while (cost := self._tokens[self._index(whole)]) <= tokens:
            tokens -= cost
            whole += 1
        words_of_next = self._words_within(self._sentence(whole), tokens)
        return (whole, words_of_next) if whole or words_of_next else self.smallest

    def lay(self, size: tuple[int, int]) -> Laid:
        whole, words_of_next = size
        units = [self._sentence(place) for place in range(whole)]
        if words_of_next:
            units.append(" ".join(self._sentence(whole).split(" ")[:words_of_next]))
        return Laid(units)

    def _index(self, place: int) -> int:
        return (self._start + place) % len(self._tokens.sentences)

    def _sentence(self, place: int) -> str:
        return self._tokens.sentences[self._index(place)]

    def _words_within(self, sentence: str, tokens: int) -> int:
        parts = sentence.split(" ")
        costs = self._tokens.measure.unit_tokens(parts, " ", before="So it is.")
        count = 0
        while count < len(parts) - 1 and costs[count] <= tokens:
            tokens -= costs[count]
            count += 1
        return count
