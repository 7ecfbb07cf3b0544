"""Invented names of people and towns, combined from the parts in names.toml."""

from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.words import joined, lists

_PEOPLE, _TOWNS = lists("names")["people"], lists("names")["towns"]
WOMEN: list[str] = _PEOPLE["women"]
MEN: list[str] = _PEOPLE["men"]
SURNAME_STARTS: list[str] = _PEOPLE["surname_starts"]
SURNAME_ENDS: list[str] = _PEOPLE["surname_ends"]
TOWN_STARTS: list[str] = _TOWNS["starts"]
TOWN_ENDS: list[str] = _TOWNS["ends"]


def surname(draw: Draw) -> str:
    """Draw a surname of two parts."""
    return joined(draw.one(SURNAME_STARTS), draw.one(SURNAME_ENDS))


def town(draw: Draw) -> str:
    """Draw a town's name of two parts."""
    return joined(draw.one(TOWN_STARTS), draw.one(TOWN_ENDS))


def towns(draw: Draw, count: int) -> list[str]:
    """Draw `count` different names of towns."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[town(draw)] = None
    return list(found)
