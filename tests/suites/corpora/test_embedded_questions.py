"""The embedded question corpora: answers stand where they are said to, and nowhere near."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from suites.corpora import QuestionCorpus, embedded_hotpotqa, embedded_squad
from suites.corpora.embedded.facts import Decks, Filling, parse_aspects
from suites.corpora.embedded.stream import Draw

SEEDS = st.integers(min_value=0, max_value=2**40)
few_seeds = settings(max_examples=4, deadline=None)


def _check_shape(corpus: QuestionCorpus) -> None:
    assert len(set(corpus.documents)) == len(corpus.documents)
    assert len({question.question for question in corpus.questions}) == len(corpus.questions)
    places = range(len(corpus.documents))
    for question in corpus.questions:
        assert 1 <= len(question.answers) <= 3
        assert question.question.endswith("?")
        assert not set(question.gold) & set(question.related)
        assert all(place in places for place in (*question.gold, *question.related))
    for text in (*corpus.documents, *(question.question for question in corpus.questions)):
        assert re.fullmatch(r"[ -~\n]+", text), text
        assert "{" not in text
        assert "  " not in text


@few_seeds
@given(SEEDS)
@example(0)
def test_articles_answer_each_question_in_one_paragraph_only(seed: int) -> None:
    corpus = embedded_squad(seed)
    _check_shape(corpus)
    assert all("\n" not in document for document in corpus.documents)
    assert all(80 <= len(document.split()) <= 130 for document in corpus.documents)
    lowered = [document.lower() for document in corpus.documents]
    for question in corpus.questions:
        (gold,) = question.gold
        for answer in question.answers:
            assert answer in corpus.documents[gold]
            assert answer.lower() not in question.question.lower()
            assert not any(answer.lower() in lowered[place] for place in question.related), (question, answer)


def test_there_are_ninety_six_articles_of_fourteen_paragraphs() -> None:
    corpus = embedded_squad()
    articles = {tuple(sorted((*question.gold, *question.related))) for question in corpus.questions}
    assert len(articles) == 96
    assert {len(article) for article in articles} == {14}
    asked = [sum(question.gold == (place,) for question in corpus.questions) for place in range(len(corpus.documents))]
    assert min(asked) >= 3
    assert len(corpus.questions) > 4_000


@few_seeds
@given(SEEDS)
@example(0)
def test_a_country_answers_each_question_in_two_documents(seed: int) -> None:
    corpus = embedded_hotpotqa(seed)
    _check_shape(corpus)
    titles = [document.partition("\n")[0] for document in corpus.documents]
    assert len(set(titles)) == len(titles)
    assert len(corpus.questions) >= 300
    for question in corpus.questions:
        assert len(question.gold) == 2
        assert len({*question.gold, *question.related}) == 10
        if question.answers[0] not in ("yes", "no"):
            assert any(answer in corpus.documents[place] for place in question.gold for answer in question.answers)
    decided = [question.answers[0] for question in corpus.questions if question.answers[0] in ("yes", "no")]
    assert 0.25 < decided.count("yes") / len(decided) < 0.75


def test_documents_of_the_country_have_a_title_and_three_to_six_sentences() -> None:
    for document in embedded_hotpotqa().documents:
        title, _, text = document.partition("\n")
        assert title
        assert "\n" not in text
        assert 3 <= len(re.findall(r"[.](?= |$)", text)) <= 6, document


def test_bridge_questions_cannot_be_answered_from_the_document_they_name() -> None:
    corpus = embedded_hotpotqa()
    bridges = [
        question for question in corpus.questions if re.search(r"\b(?:creator|founder|designer)\b", question.question)
    ]
    assert len(bridges) > 80
    for question in bridges:
        named = [place for place in question.gold if corpus.documents[place].partition("\n")[0] in question.question]
        assert len(named) == 1
    single_hop = sum(question.answers[0] in corpus.documents[question.gold[0]] for question in bridges)
    assert single_hop < 0.03 * len(bridges)


@pytest.mark.parametrize("load", [embedded_squad, embedded_hotpotqa])
def test_seeds_share_no_document_and_are_named_apart(load: type) -> None:
    zero, one = load(0), load(1)
    assert not set(zero.documents) & set(one.documents)
    assert zero.use.sha256 != one.use.sha256
    assert zero.use.source == "embedded"
    assert load(0) is zero
    assert load.__wrapped__(1) == one  # type: ignore[attr-defined]  # lru_cache keeps the function


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
