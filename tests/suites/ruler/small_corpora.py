"""Corpora of a few thousand words, written for these tests, so that their prompts change only with the suite."""

from evalkit.records import CorpusUse
from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from suites.corpora import Essays, Question, QuestionCorpus
from suites.ruler import RulerCorpora, RulerSettings, RulerSuite

_WHO = ("The baker", "A young surveyor", "The ferryman", "Her aunt", "The clockmaker", "An old printer", "The cook")
_DID = ("mended", "carried home", "sketched", "lent out", "weighed twice", "forgot", "sold at a loss", "hid away")
_WHAT = ("the copper kettle", "a ladder", "three letters", "the winter coats", "a map of the valley")
_WHY = (
    "because it rained.",
    "before anyone asked.",
    "and nobody minded, though the whole street had heard of it by noon.",
    "while the others slept.",
    "so the matter was closed.",
    "as agreed.",
)
_TOWNS = ("Arnholt", "Besk", "Corvane", "Dunmere", "Eddlow", "Farrowby", "Gantry Hill", "Hollin")
_TRADES = ("tannery", "glassworks", "mill", "ropewalk", "foundry", "brickyard", "dye house", "brewery")


def sentences() -> tuple[str, ...]:
    return tuple(f"{_WHO[i % 7]} {_DID[i % 8]} {_WHAT[i % 5]} {_WHY[i % 6]}" for i in range(211))


def essays() -> Essays:
    return Essays(CorpusUse("essays", "small essays", "0" * 64, "tests"), sentences())


def squad() -> QuestionCorpus:
    documents, questions = [], []
    for town in range(8):
        article = range(len(documents), len(documents) + 8)
        for trade in range(8):
            year = 1700 + 13 * town + 29 * trade
            padding = " ".join(sentences()[(town * 8 + trade) : (town * 8 + trade) + 1 + (town + trade) % 5])
            documents.append(f"The {_TRADES[trade]} of {_TOWNS[town]} opened in {year}. {padding}")
            gold = article[trade]
            questions.append(
                Question(
                    f"When did the {_TRADES[trade]} of {_TOWNS[town]} open?",
                    (str(year), f"in {year}"),
                    (gold,),
                    tuple(other for other in article if other != gold),
                )
            )
    return QuestionCorpus(CorpusUse("squad", "small squad", "1" * 64, "tests"), tuple(documents), tuple(questions))


def hotpotqa() -> QuestionCorpus:
    documents, questions = [], []
    for town in range(8):
        for trade in range(8):
            owner = _WHO[(town + trade) % 7].split()[-1].capitalize()
            documents.append(f"{_TRADES[trade].title()} of {_TOWNS[town]}\nIt belongs to {owner} {town}{trade}.")
            padding = " ".join(sentences()[town + trade : town + trade + 1 + trade % 4])
            documents.append(f"{owner} {town}{trade}\n{owner} {town}{trade} was born in {_TOWNS[trade]}. {padding}")
    for pair in range(64):
        first, second = 2 * pair, 2 * pair + 1
        title = documents[first].split("\n")[0]
        related = tuple(document % len(documents) for document in range(second + 1, second + 9))
        answer = _TOWNS[pair % 8]
        questions.append(Question(f"Where was the owner of the {title} born?", (answer,), (first, second), related))
    return QuestionCorpus(
        CorpusUse("hotpotqa", "small hotpotqa", "2" * 64, "tests"), tuple(documents), tuple(questions)
    )


CORPORA = RulerCorpora(essays, squad, hotpotqa)


def suite(
    tokenizer: Tokenizer,
    *,
    ctxs: tuple[int, ...] = (4096,),
    tasks: tuple[str, ...] | None = None,
    samples: int = 1,
    seed: int = 42,
    dialect: str = "nvidia",
    chat: ChatOptions = RAW,
) -> RulerSuite:
    """A native suite over these corpora."""
    settings = RulerSettings.of(ctx=ctxs, tasks=tasks, samples=samples, seed=seed, dialect=dialect)
    return RulerSuite(settings, tokenizer, CORPORA, chat)
