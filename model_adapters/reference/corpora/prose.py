"""Generate essays about invented people and places: a long stream of sections, each on one topic."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from model_adapters.reference.corpora import names
from model_adapters.reference.corpora.grammar import Choice, Expander, Grammar
from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.words import in_words, lists, with_article

SENTENCES_PER_SECTION = 32
SECTIONS = 2304
TOPICS: list[dict[str, Any]] = lists("topics")["topic"]

Rules = dict[str, Sequence[str]]

# Values that stay the same within a paragraph, in the order in which _Section._meet sets them.
_CONTEXT = ("HERO", "FIRST", "FRIEND", "TOWN", "X", "AX", "HE", "HIS", "HIM")
_PRONOUNS = {"women": ("she", "her", "her"), "men": ("he", "his", "him")}
_FRAMES: dict[str, str] = lists("phrases")["frames"]
_PHRASES: dict[str, str] = lists("phrases")["phrases"]


def sentences(seed: int) -> tuple[str, ...]:
    """All sentences of a seed, more than a million words; each seed has its own sentences, people and places."""
    local = _names_of(seed)
    written: list[str] = []
    for turn in range(SECTIONS // len(TOPICS)):
        # Each round covers every topic once, in random order.
        for topic in Draw("topics", seed, turn).shuffled(range(len(TOPICS))):
            section = len(written) // SENTENCES_PER_SECTION
            written.extend(_Section(Draw("prose", seed, section), topic, local).sentences())
    return tuple(written)


class _Section:
    """A few paragraphs on one topic, each with its own people."""

    def __init__(self, draw: Draw, topic: int, local: Rules) -> None:
        self._draw = draw
        self._local = local
        grammar, shared = _grammar()
        self._expander = Expander(grammar.table({**shared, **_topic_rules(topic), **local}), draw.random)
        self._frame = {kind: grammar.number(kind) for kind in _FRAMES}
        self._thing = grammar.number("thing")

    def sentences(self) -> tuple[str, ...]:
        written: list[str] = []
        while len(written) < SENTENCES_PER_SECTION:
            left = SENTENCES_PER_SECTION - len(written)
            # Do not leave fewer than four sentences for the last paragraph.
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
        """Set the people, town and thing of the next paragraph."""
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
def _grammar() -> tuple[Grammar, dict[str, Sequence[Choice]]]:
    grammar = Grammar(_CONTEXT)
    blocks = _FRAMES | _PHRASES
    shared: dict[str, Sequence[Choice]] = {symbol: grammar.compile_lines(block) for symbol, block in blocks.items()}
    for symbol in blocks:
        grammar.number(symbol)
    shared["years"] = [in_words(number) for number in range(13, 60)]
    shared["small"] = [in_words(number) for number in range(2, 13)]
    shared["count"] = [in_words(number) for number in (*range(13, 100), *range(100, 1000, 50))]
    return grammar, shared


@cache
def _topic_rules(number: int) -> Rules:
    """The symbols that depend on the topic, with their alternatives."""
    topic = TOPICS[number]
    things = [_singular_and_plural(entry) for entry in topic["things"]]
    trades = [_singular_and_plural(entry) for entry in topic["trades"]]
    return {
        "thing": [singular for singular, _ in things],
        "things": [plural for _, plural in things],
        "a_thing": [with_article(singular) for singular, _ in things],
        "the_thing": [f"the {singular}" for singular, _ in things],
        "stuff": topic["stuff"],
        "place": topic["places"],
        "trades": [plural for _, plural in trades],
        "a_trade": [with_article(singular) for singular, _ in trades],
        "trait": topic["traits"],
        "a_trait": [with_article(trait) for trait in topic["traits"]],
        "did": topic["did"],
        "befell": topic["befell"],
        "claim": topic["claims"],
        "art": topic["arts"],
    }


def _singular_and_plural(entry: str) -> tuple[str, str]:
    """Singular and plural of a count noun; the plural is formed with s unless given."""
    singular, _, plural = entry.partition("/")
    return singular, plural or f"{singular}s"


def _names_of(seed: int) -> Rules:
    """The people, towns and years in one seed's prose."""
    draw = Draw("names", seed)
    women, men = draw.some(names.WOMEN, 48), draw.some(names.MEN, 48)
    surnames = [names.surname(draw) for _ in range(160)]
    return {
        "women": women,
        "men": men,
        "first": [*women, *men],
        "surname": surnames,
        "person": [f"{draw.one((*women, *men))} {surname}" for surname in surnames],
        "town": [names.town(draw) for _ in range(160)],
        "year": [str(draw.between(1580, 1960)) for _ in range(80)],
    }
