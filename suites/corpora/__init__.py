"""Corpora behind the suites: essays, SQuAD and HotpotQA, from a folder, the cache, or embedded."""

from suites.corpora.records import Essays, Question, QuestionCorpus

__all__ = ["Essays", "Question", "QuestionCorpus"]
