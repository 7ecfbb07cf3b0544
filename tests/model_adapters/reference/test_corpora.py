"""The generators write the embedded corpora for seed 0, and other texts for every other seed."""

from typing import Any

import pytest

from model_adapters.reference.corpora import articles, country, prose
from model_adapters.reference.corpora.facts import Decks, Filling, parse_aspects
from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.texts import generated_corpora, text_of
from model_adapters.reference.corpora.words import in_words, with_article
from suites.corpora import embedded_essays, embedded_hotpotqa, embedded_squad
from suites.corpora.embedded import SEED
from tests.support import run_python


def test_the_embedded_corpora_are_what_the_generators_write() -> None:
    corpora = generated_corpora(SEED)
    generated = (corpora.essays(), corpora.squad(), corpora.hotpotqa())
    embedded = (embedded_essays(), embedded_squad(), embedded_hotpotqa())
    for ours, theirs in zip(generated, embedded, strict=True):
        assert text_of(ours) == text_of(theirs)
        assert ours.use.sha256 == theirs.use.sha256
        assert ours.use.role == theirs.use.role


def test_topics_have_different_names() -> None:
    assert len(prose.TOPICS) == len({topic["name"] for topic in prose.TOPICS}) == 48


def test_seeds_share_hardly_a_sentence() -> None:
    other = set(prose.sentences(1)[:8_000])
    assert len(other.intersection(embedded_essays().sentences)) < 0.12 * len(other)


@pytest.mark.parametrize("module", [articles, country])
def test_seeds_share_no_document(module: Any) -> None:
    documents = [set(module.documents_and_questions(seed)[0]) for seed in (0, 1)]
    assert not documents[0] & documents[1]


def test_a_fresh_process_with_another_hash_seed_writes_the_same() -> None:
    program = "from model_adapters.reference.corpora.articles import documents_and_questions as d; print(d(5))"
    done = run_python("-c", program, PYTHONHASHSEED="77")
    assert done.stdout == f"{articles.documents_and_questions(5)}\n"


def test_draws_are_those_of_every_python_version() -> None:
    draw = Draw("anything", 0)
    assert [draw.below(1000) for _ in range(6)] == [147, 181, 204, 183, 770, 166]
    assert Draw("a", 1).shuffled(range(8)) == [1, 6, 5, 2, 3, 4, 7, 0]


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


def test_a_block_of_facts_fills_its_questions_from_its_sentences() -> None:
    (aspect,) = parse_aspects(
        "{E} has {count:a} wells. || In {E} are {count:a} wells.\n? How many wells has {E}? = {a} | all"
    )
    assert len(aspect.sentences[0]) == 2
    filling = Filling(Decks(Draw("t", 1)), {"E": "the old mill"})
    sentence = filling.sentence(aspect.sentences[0][0])
    question, answers = aspect.questions[0]
    assert sentence.startswith("The old mill has ")
    assert filling.fill(answers[0]) in sentence
    assert filling.fill(question) == "How many wells has the old mill?"
    assert answers[1] == "all"


def test_an_unknown_kind_or_name_is_an_error() -> None:
    filling = Filling(Decks(Draw("t", 1)), {})
    with pytest.raises(KeyError):
        filling.fill("{unheard_of:a}")
    with pytest.raises(KeyError):
        filling.fill("{never_drawn}")
