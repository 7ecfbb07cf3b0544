"""Words, numbers and uuids for keys and values."""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.records import CorpusUse
from suites.draws import Draws

WONDERWORDS = "2.2.0"
# Other lists would make a different benchmark.
_SHA256 = {
    "nounlist.txt": "0778f51872f2aa89e0745c0cc37471a13e3d2161a79fcfdc03b6390b10604a55",
    "adjectivelist.txt": "66814d46b7e292c83e839d12fe2fa083c8f66779b14b294e1be4e1342c5d4131",
    "verblist.txt": "9fbf5e4e69b8869aebd88e6d545312ff9f878a747327ede5f6dbbba5c27b08ad",
}
_DIGITS = 7


@dataclass(frozen=True, slots=True)
class WordLists:
    """wonderwords' lists in file order."""

    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    verbs: tuple[str, ...]


@cache
def word_lists() -> WordLists:
    """The lists of the installed wonderwords; UsageError if they are not those of 2.2.0."""
    return WordLists(_read("nounlist.txt"), _read("adjectivelist.txt"), _read("verblist.txt"))


@cache
def every_word() -> tuple[str, ...]:
    """Nouns, adjectives and verbs, each word once, in alphabetical order."""
    lists = word_lists()
    return tuple(sorted({*lists.nouns, *lists.adjectives, *lists.verbs}))


def words_use() -> CorpusUse:
    """The word lists as a corpus of a result."""
    digest = hashlib.sha256("".join(_SHA256.values()).encode()).hexdigest()
    return CorpusUse("words", f"wonderwords {WONDERWORDS}", digest, "wonderwords")


def _read(name: str) -> tuple[str, ...]:
    spec = find_spec("wonderwords")
    if spec is None or spec.origin is None:
        raise UsageError(f"wonderwords is not installed; pip install wonderwords=={WONDERWORDS}")
    # Read instead of imported, because the package opens its lists with a deprecated function.
    content = (Path(spec.origin).parent / "assets" / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256[name]:
        raise UsageError(
            f"wonderwords' {name} is not that of {WONDERWORDS}, so the questions would differ; "
            f"pip install wonderwords=={WONDERWORDS}"
        )
    return tuple(line.rstrip() for line in content.decode().splitlines())


def draw(kind: str, draws: Draws) -> str:
    """One key or value: `words` (adjective-noun), `numbers` (7 digits) or `uuids` (version 4)."""
    if kind == "words":
        lists = word_lists()
        return f"{draws.pick(lists.adjectives)}-{draws.pick(lists.nouns)}"
    if kind == "numbers":
        lowest = 10 ** (_DIGITS - 1)
        return str(lowest + draws.below(9 * lowest))
    if kind == "uuids":
        bits = 0
        for _ in range(4):
            bits = bits << 32 | draws.below(1 << 32)
        return str(uuid.UUID(int=bits, version=4))
    raise ValueError(f"no such kind of key or value: {kind!r}")


def distinct(kind: str, draws: Draws, taken: set[str]) -> Iterator[str]:
    """An endless stream of keys or values that are not in `taken`, to which each is added."""
    while True:
        item = draw(kind, draws)
        if item not in taken:
            taken.add(item)
            yield item
