"""The loaders over the real corpora."""

import re
from pathlib import Path

import pytest

from suites.corpora import load_essays, load_hotpotqa, load_squad

pytestmark = pytest.mark.shared_data


@pytest.fixture(autouse=True)
def _data(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(shared_data))


def test_squad_has_all_its_answerable_questions() -> None:
    corpus = load_squad()
    assert len(corpus.questions) == 5_928
    assert len(corpus.documents) == 1_204
    articles = {tuple(sorted((*question.gold, *question.related))) for question in corpus.questions}
    assert len(articles) == 35
    first = corpus.questions[0]
    assert (first.question, first.answers) == ("In what country is Normandy located?", ("France",))
    for question in corpus.questions:
        assert all(answer in corpus.documents[question.gold[0]] for answer in question.answers)


def test_hotpotqa_has_its_questions_with_their_own_documents() -> None:
    corpus = load_hotpotqa()
    assert len(corpus.questions) == 602
    assert len(corpus.documents) == 5_926
    assert {len(question.gold) for question in corpus.questions} == {2}
    own = [len(question.gold) + len(question.related) for question in corpus.questions]
    assert own.count(10) == 597
    for question in corpus.questions:
        (answer,) = question.answers
        held = any(answer.lower() in corpus.documents[place].lower() for place in question.gold)
        assert held or answer in ("yes", "no")


def test_the_novels_are_a_haystack_without_header_and_footer() -> None:
    essays = load_essays()
    assert essays.use.name.startswith("1342_pride_and_prejudice.txt.gz, 1661_sherlock_holmes.txt.gz, ")
    assert essays.sentences[0].startswith("It is a truth universally acknowledged,")
    text = " ".join(essays.sentences)
    assert 950_000 < len(text.split()) < 1_015_000
    assert not re.search(r"gutenberg|\bebook|\*\*\*|anonymous volunteer", text, re.IGNORECASE)
    assert sum(len(sentence.splitlines()) for sentence in essays.sentences) == len(essays.sentences) > 50_000
    for sentence in (
        "Mr. Bennet was so odd a mixture of quick parts,",
        "Call me Ishmael.",
        "To Sherlock Holmes she is always THE woman.",
    ):
        assert sentence in text
