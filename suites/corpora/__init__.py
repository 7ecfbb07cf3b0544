"""Corpora behind the suites: essays, SQuAD and HotpotQA, from a folder, the cache, or embedded."""

from suites.corpora.embedded import embedded_essays, embedded_hotpotqa, embedded_squad
from suites.corpora.records import Essays, Question, QuestionCorpus

__all__ = ["Essays", "Question", "QuestionCorpus", "embedded_essays", "embedded_hotpotqa", "embedded_squad"]
