"""Corpora behind the suites: essays, SQuAD and HotpotQA, from a folder, the cache, or embedded."""

from suites.corpora.embedded import embedded_essays, embedded_hotpotqa, embedded_squad
from suites.corpora.fetching import fetch, verify
from suites.corpora.records import Essays, Question, QuestionCorpus
from suites.corpora.resolve import list_corpora, load_essays, load_hotpotqa, load_squad

__all__ = [
    "Essays",
    "Question",
    "QuestionCorpus",
    "embedded_essays",
    "embedded_hotpotqa",
    "embedded_squad",
    "fetch",
    "list_corpora",
    "load_essays",
    "load_hotpotqa",
    "load_squad",
    "verify",
]
