"""The generated corpora of a seed, as the suites read them and as the text of a file."""

import hashlib
import json
from dataclasses import astuple, replace
from functools import cache
from typing import TypeVar

from evalkit.records import CorpusUse
from model_adapters.reference.corpora import articles, country, prose
from suites.corpora import Essays, QuestionCorpus
from suites.ruler import RulerCorpora

Corpus = TypeVar("Corpus", Essays, QuestionCorpus)


def generated_corpora(seed: int) -> RulerCorpora:
    """The three corpora of a seed, each generated on first use."""

    def use(role: str) -> CorpusUse:
        return CorpusUse(role, f"generated/seed{seed}", "", "generated")

    return RulerCorpora(
        cache(lambda: _with_sha256(Essays(use("essays"), prose.sentences(seed)))),
        cache(lambda: _with_sha256(QuestionCorpus(use("squad"), *articles.documents_and_questions(seed)))),
        cache(lambda: _with_sha256(QuestionCorpus(use("hotpotqa"), *country.documents_and_questions(seed)))),
    )


def text_of(corpus: Essays | QuestionCorpus) -> str:
    """The corpus as a file: one sentence per line, or one JSON object with the fields of each question as an array."""
    if isinstance(corpus, Essays):
        return "".join(f"{sentence}\n" for sentence in corpus.sentences)
    fields = {"documents": corpus.documents, "questions": [astuple(question) for question in corpus.questions]}
    return json.dumps(fields, separators=(",", ":"))


def _with_sha256(corpus: Corpus) -> Corpus:
    sha256 = hashlib.sha256(text_of(corpus).encode()).hexdigest()
    return replace(corpus, use=replace(corpus.use, sha256=sha256))
