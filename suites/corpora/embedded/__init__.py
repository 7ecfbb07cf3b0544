"""Corpora written for this project by seeded generators: they serve where nothing was downloaded."""

from functools import lru_cache

from evalkit.records import CorpusUse
from suites.corpora.embedded.definition import definition_sha256
from suites.corpora.records import Essays, QuestionCorpus

__all__ = ["embedded_essays", "embedded_hotpotqa", "embedded_squad", "embedded_use"]

_NAMES = {"essays": "embedded-prose-v1", "squad": "embedded-articles-v1", "hotpotqa": "embedded-country-v1"}


def embedded_use(role: str, seed: int = 0) -> CorpusUse:
    """How a record names the embedded corpus of a role; the sha256 is of the generator's sources and the seed."""
    return CorpusUse(role, f"{_NAMES[role]}/seed{seed}", definition_sha256(role, seed), "embedded")


@lru_cache(maxsize=4)
def embedded_essays(seed: int = 0) -> Essays:
    """More than a million words of prose; another seed gives other sentences, people and places.

    The sentences are written section by section as they are read; the same seed always gives the same ones.
    """
    from suites.corpora.embedded.essays import Prose

    return Essays(embedded_use("essays", seed), Prose(seed))


@lru_cache(maxsize=4)
def embedded_squad(seed: int = 0) -> QuestionCorpus:
    """Ninety-six articles about invented places and things; each answer stands in one paragraph of its article."""
    from suites.corpora.embedded.squad import documents_and_questions

    return QuestionCorpus(embedded_use("squad", seed), *documents_and_questions(seed))


@lru_cache(maxsize=4)
def embedded_hotpotqa(seed: int = 0) -> QuestionCorpus:
    """Documents about an invented country; each question needs two of them and has eight that distract."""
    from suites.corpora.embedded.hotpotqa import documents_and_questions

    return QuestionCorpus(embedded_use("hotpotqa", seed), *documents_and_questions(seed))
