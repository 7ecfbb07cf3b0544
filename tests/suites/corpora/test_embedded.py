"""The embedded corpora: unchanged since their first publication, and sufficient for the suites."""

import hashlib
import lzma
import re
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.records import Manifest, RunStart
from evalkit.records.migration import migrate
from suites.corpora import QuestionCorpus, embedded, embedded_essays, embedded_hotpotqa, embedded_squad
from suites.corpora.embedded import DATA, FILES, embedded_use

LOADERS = {"essays": embedded_essays, "squad": embedded_squad, "hotpotqa": embedded_hotpotqa}


@pytest.fixture(scope="module")
def sentences() -> tuple[str, ...]:
    return tuple(embedded_essays().sentences)


@pytest.mark.parametrize("role", FILES)
def test_a_corpus_is_identified_by_its_uncompressed_text(role: str) -> None:
    corpus = LOADERS[role]()
    assert corpus.use == embedded_use(role)
    assert corpus.use.sha256 == hashlib.sha256(lzma.decompress((DATA / FILES[role]).read_bytes())).hexdigest()
    assert LOADERS[role]() is corpus


def test_prompts_see_what_they_always_saw() -> None:
    """Digests of the generators' output from before it was stored in files."""
    essays, questions = embedded_essays(), (embedded_squad(), embedded_hotpotqa())
    texts = ["\n".join(essays.sentences), *(repr((corpus.documents, corpus.questions)) for corpus in questions)]
    assert [hashlib.sha256(text.encode()).hexdigest() for text in texts] == [
        "1f0c0b2b78a442aa4913a6bfefd25a46d246e0b5d7fe9f22341f321db81540f4",
        "d748fbf16e9af830f00c0512de48ba53a1ccd8b77ebd3ebbc10f04512eab5c01",
        "3c1c16a74fd73b6687c05fd5a3fa826395323d39789533bce58149636c9565bf",
    ]


def test_runs_that_name_the_generator_pair_with_those_that_name_the_text() -> None:
    old = {
        "essays": "e0625114b7d8ab191d68d6dfe4dcd8e286b08699a1c20798387c1b6fd2559cf9",
        "squad": "0d5ff6fd17db88ee6a324bf398d6c8fba9c2cd738fd783fecfc1467fbcccee25",
        "hotpotqa": "55ee5f81027ae0fe0c70f642e2ca9d8015f69cec976f40abe2d473fce462cfb3",
    }
    other = {"role": "words", "name": "w", "sha256": "ab" * 32, "source": "w"}
    listed = [{**vars_of(role), "sha256": sha256} for role, sha256 in old.items()]
    assert migrate(RunStart, {"corpora": [*listed, other]}) == {"corpora": [*map(vars_of, old), other]}
    by_name = {f"{role}:{embedded_use(role).name}": sha256 for role, sha256 in old.items()}
    assert migrate(Manifest, {"corpora": by_name})["corpora"] == {
        role: {embedded_use(role).name: embedded_use(role).sha256} for role in old
    }


def vars_of(role: str) -> dict[str, str]:
    return asdict(embedded_use(role))


@pytest.mark.parametrize("content", [None, b"", b"no archive", lzma.compress(b"Another text.\n")])
def test_a_damaged_installation_is_one_line(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "DATA", tmp_path)
    if content is not None:
        (tmp_path / FILES["essays"]).write_bytes(content)
    with pytest.raises(UsageError, match=r"essays\.txt\.xz: .*; install evalkit again$"):
        embedded_essays.__wrapped__()


def test_there_are_a_million_words(sentences: tuple[str, ...]) -> None:
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


def test_neighbours_are_unlike(sentences: tuple[str, ...]) -> None:
    def alike(one: str, other: str) -> float:
        first, second = set(one.lower().split()), set(other.lower().split())
        return len(first & second) / len(first | second)

    likeness = [alike(a, b) for a, b in pairwise(sentences)]
    assert max(likeness) < 0.7
    assert len(set(sentences)) > 0.9 * len(sentences)


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


def test_articles_answer_each_question_in_one_paragraph_only() -> None:
    corpus = embedded_squad()
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


def test_a_country_answers_each_question_in_two_documents() -> None:
    corpus = embedded_hotpotqa()
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
