"""Parse blocks of templates for paragraphs with facts, and draw the values that fill them (format: articles.toml)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from model_adapters.reference.corpora import names
from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.words import in_words, joined, lists, with_article

_SLOT = re.compile(r"\{(?:(\w+):)?(\w+)(?:\.(\w+))?\}")
_ARTICLE = re.compile(r"\b([Aa])n? (?=(\w[\w'-]*))")
_HE = "person_he"


@dataclass(frozen=True, slots=True)
class Aspect:
    """Templates of one kind of paragraph."""

    sentences: tuple[tuple[str, ...], ...]
    """The alternative templates of each sentence."""
    questions: tuple[tuple[str, tuple[str, ...]], ...]
    """Templates of question and answers."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value for a slot."""

    text: str
    he: str = "it"

    @property
    def last(self) -> str:
        """The last word, such as a surname or a hill's own name."""
        return self.text.rpartition(" ")[2]

    @property
    def bare(self) -> str:
        """The value without its article."""
        return self.text.partition(" ")[2]


def parse_aspects(text: str) -> tuple[Aspect, ...]:
    """Split a text into blocks at blank lines."""
    return tuple(_parse_block(block) for block in text.strip().split("\n\n"))


def _parse_block(block: str) -> Aspect:
    lines = block.splitlines()
    sentences = tuple(tuple(way.strip() for way in line.split("||")) for line in lines if line[0] != "?")
    questions = []
    for line in lines:
        if line.startswith("? "):
            question, _, answers = line[2:].partition(" = ")
            questions.append((question, tuple(answer.strip() for answer in answers.split("|"))))
    return Aspect(sentences, tuple(questions))


@cache
def value_list(kind: str) -> Sequence[str]:
    """All values of a kind; raises KeyError for an unknown kind."""
    values: dict[str, list[str]] = lists("articles")["values"]
    match kind:
        case "a_trade" | "an_animal" | "a_coin":
            return [with_article(value) for value in values[kind.partition("_")[2]]]
        case "building_in":
            return [f"the {hall}" for hall in values["hall"]]
        case "weekday":
            return [f"{day}s" for day in values["day"]]
        case "instrument":
            return values["instruments"]
        case "count":
            return [in_words(number) for number in (*range(21, 100), *range(103, 400, 7))]
        case "small_days":
            return [in_words(number) for number in range(3, 13)]
    return values[kind]


class Decks:
    """Draws values by kind, without repeating one before all of its kind have been drawn."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._decks: dict[str, list[str]] = {}

    def draw(self, kind: str) -> Value:
        """Draw the next value of a kind; raises KeyError for an unknown kind."""
        makers: dict[str, Callable[[], Value]] = {
            "person": self._person,
            "year": lambda: Value(str(self._draw.between(1480, 1930))),
            "town": lambda: Value(joined(self._next(names.TOWN_STARTS), self._next(names.TOWN_ENDS))),
            "hill": lambda: Value(f"Mount {joined(self._next(names.TOWN_STARTS), 'en')}"),
            "date": lambda: Value(f"{self._draw.between(1, 28)} {self._next_value('month')}"),
            "money": lambda: Value(f"{self._next_value('count')} {self._next_value('money_unit')}"),
        }
        return makers[kind]() if kind in makers else Value(self._next_value(kind))

    def _person(self) -> Value:
        group, he = (names.WOMEN, "she") if self._draw.random() < 0.5 else (names.MEN, "he")
        surname = joined(self._next(names.SURNAME_STARTS), self._next(names.SURNAME_ENDS))
        return Value(f"{self._draw.one(group)} {surname}", he)

    def _next_value(self, kind: str) -> str:
        return self._next(value_list(kind), kind)

    def _next(self, values: Sequence[str], kind: str = "") -> str:
        key = kind or values[0]
        if not self._decks.get(key):
            self._decks[key] = self._draw.shuffled(values)
        return self._decks[key].pop()


class Filling:
    """The values of one paragraph's slots."""

    def __init__(self, decks: Decks, subject: dict[str, str]) -> None:
        self._decks = decks
        self._values = {name: Value(text) for name, text in subject.items()}

    def fill(self, template: str) -> str:
        """Fill a template's slots and correct `a` or `an`; raises KeyError for a slot without a value."""
        return _ARTICLE.sub(_right_article, _SLOT.sub(self._slot, template))

    def sentence(self, template: str) -> str:
        """Fill a template and capitalize its first letter."""
        text = self.fill(template)
        return text[0].upper() + text[1:]

    def _slot(self, match: re.Match[str]) -> str:
        kind, name, attribute = match.groups()
        if kind == _HE:
            return self._values[name].he
        if kind is not None and name not in self._values:
            self._values[name] = self._decks.draw(kind)
        value = self._values[name]
        return value.text if attribute is None else str(getattr(value, attribute))


def _right_article(match: re.Match[str]) -> str:
    article = with_article(match[2].lower()).split(" ")[0]
    return f"{match[1]}{article[1:]} "
