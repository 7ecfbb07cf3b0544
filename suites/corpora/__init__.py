"""Corpora behind the suites: essays, SQuAD and HotpotQA, from a folder, the cache, or embedded."""

from suites.corpora.embedded import embedded_essays
from suites.corpora.records import Essays, Question, QuestionCorpus

__all__ = ["Essays", "Question", "QuestionCorpus", "embedded_essays"]
