"""The corpora of RULER's haystacks, each loaded when a task first uses it."""

from collections.abc import Callable
from dataclasses import dataclass

from evalkit.records import CorpusUse
from suites.corpora import Essays, QuestionCorpus


@dataclass(frozen=True, slots=True)
class RulerCorpora:
    """Sources of the three corpora."""

    essays: Callable[[], Essays]
    squad: Callable[[], QuestionCorpus]
    hotpotqa: Callable[[], QuestionCorpus]

    @staticmethod
    def default() -> "RulerCorpora":
        """From the folder in EVALKIT_DATA, else the cache of fetched ones, else embedded."""
        from suites.corpora import load_essays, load_hotpotqa, load_squad

        return RulerCorpora(load_essays, load_squad, load_hotpotqa)

    @staticmethod
    def embedded() -> "RulerCorpora":
        """The corpora that come with evalkit."""
        from suites.corpora import embedded_essays, embedded_hotpotqa, embedded_squad

        return RulerCorpora(embedded_essays, embedded_squad, embedded_hotpotqa)


class LoadedCorpora:
    """`RulerCorpora` that cache what they have loaded."""

    def __init__(self, corpora: RulerCorpora) -> None:
        self._corpora = corpora
        self._essays: Essays | None = None
        self._questions: dict[str, QuestionCorpus] = {}

    @property
    def essays(self) -> Essays:
        if self._essays is None:
            self._essays = self._corpora.essays()
        return self._essays

    def questions(self, role: str) -> QuestionCorpus:
        """The corpus of `role`: `squad` or `hotpotqa`."""
        if role not in self._questions:
            load = self._corpora.squad if role == "squad" else self._corpora.hotpotqa
            self._questions[role] = load()
        return self._questions[role]

    def use(self, role: str) -> CorpusUse:
        """The corpus of `role` as results name it."""
        return self.essays.use if role == "essays" else self.questions(role).use
