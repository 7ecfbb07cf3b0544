"""Corpora written for this project by seeded generators: they serve where nothing was downloaded."""

from functools import lru_cache

from evalkit.records import CorpusUse
from suites.corpora.embedded.definition import definition_sha256
from suites.corpora.records import Essays

__all__ = ["embedded_essays"]


@lru_cache(maxsize=4)
def embedded_essays(seed: int = 0) -> Essays:
    """More than a million words of prose; another seed gives other sentences, people and places.

    The sentences are written section by section as they are read; the same seed always gives the same ones.
    """
    from suites.corpora.embedded.essays import Prose

    use = CorpusUse("essays", f"embedded-prose-v1/seed{seed}", definition_sha256("essays", seed), "embedded")
    return Essays(use, Prose(seed))
