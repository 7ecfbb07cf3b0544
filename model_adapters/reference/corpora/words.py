"""Load the generators' word lists, and inflect their entries as English."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_UP_TO_TWENTY = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_ONES = tuple(_UP_TO_TWENTY.split())
_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


@cache
def lists(name: str) -> dict[str, Any]:
    """The tables of `name`.toml in this folder."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def in_words(number: int) -> str:
    """Spell out 0 to 9,999, such as `two hundred and six`; raises ValueError for other numbers."""
    if not 0 <= number <= 9999:
        raise ValueError(f"{number} is not between 0 and 9,999")
    if number < 20:
        return _ONES[number]
    if number < 100:
        ten, one = divmod(number, 10)
        return _TENS[ten] + (f"-{_ONES[one]}" if one else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head, rest = divmod(number, unit)
    if not rest:
        return f"{in_words(head)} {name}"
    return f"{in_words(head)} {name} {'and ' if rest < 100 else ''}{in_words(rest)}"


def with_article(phrase: str) -> str:
    """Prefix a phrase with `a` or `an`, depending on its first sound."""
    silent_h = phrase.startswith(("hour", "honest", "heir"))
    consonant_u = phrase.startswith(("use", "uni", "unanim", "one"))
    is_vowel = (phrase[0] in "aeiou" or silent_h) and not consonant_u
    return f"{'an' if is_vowel else 'a'} {phrase}"


def joined(start: str, end: str) -> str:
    """Join two parts into one name without three equal letters in a row."""
    return start + (end[1:] if start[-2:] == end[0] * 2 else end)
