"""The embedded haystack: large, varied, the same everywhere, and other prose for another seed."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.corpora import embedded_essays
from suites.corpora.embedded.essays import TOPICS, Prose
from suites.corpora.embedded.numbers import in_words
from suites.corpora.embedded.stream import Draw
from suites.corpora.embedded.topic import with_article

SEEDS = st.integers(min_value=0, max_value=2**40)


@pytest.fixture(scope="module")
def sentences() -> tuple[str, ...]:
    return embedded_essays().sentences[:]


def test_there_are_a_million_words(sentences: tuple[str, ...]) -> None:
    assert len(sentences) == len(embedded_essays().sentences)
    assert sum(len(sentence.split()) for sentence in sentences) >= 1_000_000


def test_every_sentence_stands_on_one_line_and_ends_as_one(sentences: tuple[str, ...]) -> None:
    form = re.compile(r"[A-Z][!-~]*(?: [!-~]+)*[.?]")
    assert [sentence for sentence in sentences if not form.fullmatch(sentence)] == []
    assert [sentence for sentence in sentences if "{" in sentence or "  " in sentence or ".." in sentence] == []


def test_articles_agree_with_what_follows(sentences: tuple[str, ...]) -> None:
    text = " ".join(sentences)
    assert re.findall(r"\ban? (?:an?|the)\b", text) == []
    assert re.findall(r"\ba (?:[aeio]\w+|hour\w*|honest\w*)", text.replace("a one", "")) == []
    assert re.findall(r"\ban (?:[^aeiouh\W]\w+|use\w*|unanim\w*|one\b)", text) == []


def test_nothing_in_it_looks_like_a_needle(sentences: tuple[str, ...]) -> None:
    text = " ".join(sentences)
    assert "special magic" not in text.lower()
    assert re.search(r"\d{5,}|[0-9a-f]{8}-[0-9a-f]{4}", text) is None
    assert "VAR " not in text


def test_the_vocabulary_is_wide(sentences: tuple[str, ...]) -> None:
    words = {word for sentence in sentences for word in re.findall(r"\b[a-z]+\b", sentence)}
    assert len(words) >= 1_500
    assert len(TOPICS) == len({topic.name for topic in TOPICS}) == 48


def test_neighbours_are_unlike(sentences: tuple[str, ...]) -> None:
    def alike(one: str, other: str) -> float:
        first, second = set(one.lower().split()), set(other.lower().split())
        return len(first & second) / len(first | second)

    likeness = [alike(a, b) for a, b in pairwise(sentences)]
    assert max(likeness) < 0.7
    assert len(set(sentences)) > 0.9 * len(sentences)


def test_sections_may_be_read_in_any_order() -> None:
    forward, backward = Prose(3), Prose(3)
    last = backward[-1]
    assert [backward[i] for i in range(99, -1, -1)] == [forward[i] for i in range(99, -1, -1)]
    assert forward[len(forward) - 1] == last
    assert forward[10:40:7] == tuple(forward[i] for i in range(10, 40, 7))
    with pytest.raises(IndexError, match="of 73728"):
        forward[len(forward)]


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(min_value=0, max_value=73_700))
def test_the_same_seed_gives_the_same_sentences_and_another_gives_others(seed: int, start: int) -> None:
    window = slice(start, start + 28)
    assert Prose(seed)[window] == Prose(seed)[window]
    assert len(set(Prose(seed)[window]) & set(Prose(seed + 1)[window])) <= 2


def test_seeds_share_hardly_a_sentence(sentences: tuple[str, ...]) -> None:
    other = set(Prose(1)[:8_000])
    assert len(other.intersection(sentences)) < 0.12 * len(other)


def test_a_fresh_process_with_another_hash_seed_writes_the_same() -> None:
    program = "from suites.corpora import embedded_essays as e; print(*e(5).sentences[1000:1100], sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert tuple(done.stdout.splitlines()) == embedded_essays(5).sentences[1000:1100]


def test_draws_are_those_of_every_python_version() -> None:
    draw = Draw("anything", 0)
    assert [draw.below(1000) for _ in range(6)] == [147, 181, 204, 183, 770, 166]
    assert Draw("a", 1).shuffled(range(8)) == [1, 6, 5, 2, 3, 4, 7, 0]


def test_the_record_names_the_generator_and_the_seed() -> None:
    zero, one = embedded_essays(0).use, embedded_essays(1).use
    assert (zero.role, zero.name, zero.source) == ("essays", "embedded-prose-v1/seed0", "embedded")
    assert zero.sha256 != one.sha256
    assert embedded_essays(0).sentences is embedded_essays(0).sentences


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (42, "forty-two"),
        (206, "two hundred and six"),
        (9999, None),
        (1000, "one thousand"),
    ],
)
def test_numbers_in_words(number: int, words: str | None) -> None:
    assert in_words(number) == (words or "nine thousand nine hundred and ninety-nine")


def test_numbers_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="10000 is not between"):
        in_words(10_000)


@pytest.mark.parametrize("phrase", ["an hourglass", "a unicorn", "an owl", "a useful tool", "a house", "an honest man"])
def test_articles_follow_the_sound(phrase: str) -> None:
    assert with_article(phrase.partition(" ")[2]) == phrase
