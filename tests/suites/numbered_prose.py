"""Essays of unique sentences, for prompts that must be distinguishable."""

from evalkit.records import CorpusUse
from suites.corpora import Essays


def numbered_essays(sentences: int) -> Essays:
    return Essays(
        CorpusUse("essays", "numbered", "0" * 64, "test"),
        tuple(f"Sentence {number} tells of {'quiet ' * (number % 7)}days." for number in range(sentences)),
    )
