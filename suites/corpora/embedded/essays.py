"""The embedded haystack: a long stream of essays, written section by section as it is read."""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import overload

from suites.corpora.embedded import frames, names, topics_craft, topics_land, topics_mind, topics_town
from suites.corpora.embedded.grammar import Choice, Expander, Grammar
from suites.corpora.embedded.numbers import in_words
from suites.corpora.embedded.phrases import PHRASES
from suites.corpora.embedded.stream import Draw
from suites.corpora.embedded.topic import with_article
from suites.corpora.embedded.topic_rules import Rules, rules_of

SENTENCES_PER_SECTION = 32
SECTIONS = 2304
TOPICS = (*topics_craft.TOPICS, *topics_land.TOPICS, *topics_town.TOPICS, *topics_mind.TOPICS)

# What stays the same through a paragraph, in the order that _Section._meet fills in.
_CONTEXT = ("HERO", "FIRST", "FRIEND", "TOWN", "X", "AX", "HE", "HIS", "HIM")
_PRONOUNS = {"women": ("she", "her", "her"), "men": ("he", "his", "him")}
_KINDS = {
    "opening": frames.OPENINGS,
    "narrative": frames.NARRATIVE,
    "reflection": frames.REFLECTION,
    "description": frames.DESCRIPTION,
    "closing": frames.CLOSINGS,
}


class Prose(Sequence[str]):
    """The sentences of one seed; a section is written when one of its sentences is first read."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sections: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return SECTIONS * SENTENCES_PER_SECTION

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"sentence {index} of {len(self)}")
        section, sentence = divmod(index % len(self), SENTENCES_PER_SECTION)
        if section not in self._sections:
            self._sections[section] = self._write(section)
        return self._sections[section][sentence]

    def _write(self, section: int) -> tuple[str, ...]:
        topic = _topic_order(self._seed, section // len(TOPICS))[section % len(TOPICS)]
        return _Section(Draw("prose", self._seed, section), topic, _names_of(self._seed)).sentences()


class _Section:
    """One topic, in a few paragraphs with their own people."""

    def __init__(self, draw: Draw, topic: int, local: Rules) -> None:
        self._draw = draw
        self._local = local
        grammar, shared = _grammar()
        self._expander = Expander(grammar.table({**shared, **_topic_rules(topic), **local}), draw.random)
        self._frame = {kind: grammar.number(kind) for kind in _KINDS}
        self._thing = grammar.number("thing")

    def sentences(self) -> tuple[str, ...]:
        written: list[str] = []
        while len(written) < SENTENCES_PER_SECTION:
            left = SENTENCES_PER_SECTION - len(written)
            # Never leaves a last paragraph of fewer than four sentences.
            length = left if left <= 10 else self._draw.between(6, min(11, left - 4))
            self._meet()
            written.extend(self._sentence(kind) for kind in self._plan(length))
        return tuple(written)

    def _plan(self, length: int) -> list[str]:
        middle = [self._middle_kind() for _ in range(length - 2)]
        return ["opening", *middle, "closing"]

    def _middle_kind(self) -> str:
        chance = self._draw.random()
        if chance < 0.45:
            return "narrative"
        return "reflection" if chance < 0.8 else "description"

    def _meet(self) -> None:
        """Give the next paragraph its people, its town and its thing."""
        draw, local = self._draw, self._local
        group = "women" if draw.random() < 0.5 else "men"
        first = draw.one(local[group])
        friend = draw.one(local["first"])
        thing = self._expander.expand(self._expander.draw(self._thing))
        self._expander.context = (
            f"{first} {draw.one(local['surname'])}",
            first,
            friend if friend != first else draw.one(local["surname"]),
            draw.one(local["town"]),
            thing,
            with_article(thing),
            *_PRONOUNS[group],
        )

    def _sentence(self, kind: str) -> str:
        text = self._expander.expand(self._expander.draw(self._frame[kind]))
        end = "" if text.endswith("?") else "."
        return f"{text[0].upper()}{text[1:]}{end}"


@cache
def _grammar() -> tuple[Grammar, dict[str, tuple[Choice, ...]]]:
    grammar = Grammar(_CONTEXT)
    blocks = _KINDS | PHRASES
    shared = {symbol: grammar.compile_lines(block) for symbol, block in blocks.items()}
    for symbol in blocks:
        grammar.number(symbol)
    shared["years"] = tuple(in_words(number) for number in range(13, 60))
    shared["small"] = tuple(in_words(number) for number in range(2, 13))
    shared["count"] = tuple(in_words(number) for number in (*range(13, 100), *range(100, 1000, 50)))
    return grammar, shared


@cache
def _topic_rules(topic: int) -> Rules:
    return rules_of(TOPICS[topic])


@lru_cache(maxsize=256)
def _topic_order(seed: int, turn: int) -> list[int]:
    """Every topic once a turn, in an order of its own."""
    return Draw("topics", seed, turn).shuffled(range(len(TOPICS)))


@lru_cache(maxsize=64)
def _names_of(seed: int) -> Rules:
    """The people, towns and years that one seed's prose speaks of."""
    draw = Draw("names", seed)
    women, men = tuple(draw.some(names.WOMEN, 48)), tuple(draw.some(names.MEN, 48))
    surnames = tuple(names.joined(draw.one(names.SURNAME_STARTS), draw.one(names.SURNAME_ENDS)) for _ in range(160))
    return {
        "women": women,
        "men": men,
        "first": (*women, *men),
        "surname": surnames,
        "person": tuple(f"{draw.one((*women, *men))} {surname}" for surname in surnames),
        "town": tuple(names.joined(draw.one(names.TOWN_STARTS), draw.one(names.TOWN_ENDS)) for _ in range(160)),
        "year": tuple(str(draw.between(1580, 1960)) for _ in range(80)),
    }
