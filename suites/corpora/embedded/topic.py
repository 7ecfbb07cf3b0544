"""The shape of one topic's vocabulary."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """Words and phrases about one subject, written as separated lists so that they read as text."""

    name: str
    things: str
    """Count nouns, separated by commas; `singular/plural` where the plural does not end in a plain s."""
    stuff: str
    """Mass nouns, separated by commas."""
    places: str
    """Noun phrases with their article, separated by semicolons."""
    trades: str
    """People by occupation, separated by commas; plural as in `things`."""
    traits: str
    """Adjectives that fit the things, separated by commas."""
    did: str
    """Past-tense predicates of a person, separated by semicolons."""
    befell: str
    """Past-tense predicates of one thing, separated by semicolons."""
    claims: str
    """Whole clauses in the present tense, separated by semicolons."""
    arts: str
    """Gerund phrases, separated by semicolons."""


def split_words(text: str) -> tuple[str, ...]:
    """The entries of a list separated by commas."""
    return tuple(entry.strip() for entry in text.split(","))


def split_phrases(text: str) -> tuple[str, ...]:
    """The entries of a list separated by semicolons."""
    return tuple(" ".join(entry.split()) for entry in text.split(";"))


def singular_and_plural(entry: str) -> tuple[str, str]:
    """Both numbers of a count noun; without a given plural the singular takes an s."""
    singular, _, plural = entry.partition("/")
    return singular, plural or f"{singular}s"


def with_article(phrase: str) -> str:
    """`a` or `an` before the phrase, by its first sound."""
    silent_h = phrase.startswith(("hour", "honest", "heir"))
    consonant_u = phrase.startswith(("use", "uni", "unanim", "one"))
    is_vowel = (phrase[0] in "aeiou" or silent_h) and not consonant_u
    return f"{'an' if is_vowel else 'a'} {phrase}"
