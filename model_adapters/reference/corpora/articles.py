"""Generate SQuAD-like articles about invented places and things, with questions on each paragraph."""

from dataclasses import dataclass, field

from model_adapters.reference.corpora import names
from model_adapters.reference.corpora.facts import Aspect, Decks, Filling, parse_aspects
from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.words import lists
from suites.corpora.records import Question

ARTICLES_PER_FAMILY = 24
PARAGRAPHS_PER_ARTICLE = 14
PARAGRAPH_WORDS = (80, 130)
_ATTEMPTS = 50
_ATTEMPTS_PER_PARAGRAPH = 40


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of an article: values for the slots E, K, T and N of its family's texts."""

    phrase: str
    kind: str
    town: str
    name: str

    @property
    def slots(self) -> dict[str, str]:
        return {"E": self.phrase, "K": self.kind, "T": self.town, "N": self.name}


@dataclass(slots=True)
class Article:
    """The paragraphs about one subject, each with its questions and their answers."""

    paragraphs: list[str] = field(default_factory=list)
    questions: list[list[tuple[str, tuple[str, ...]]]] = field(default_factory=list)

    def admits(self, paragraph: str, questions: list[tuple[str, tuple[str, ...]]]) -> bool:
        """Whether every answer, old or new, occurs only in its own paragraph and not in its own question."""
        new, lowered = _answers(questions), paragraph.lower()
        earlier = [text.lower() for text in self.paragraphs]
        return (
            not any(answer in text for answer in new for text in earlier)
            and not any(answer in lowered for old in self.questions for answer in _answers(old))
            and all(answers for _, answers in questions)
            and not any(answer.lower() in question.lower() for question, answers in questions for answer in answers)
        )


def _answers(questions: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    return [answer.lower() for _, answers in questions for answer in answers]


def articles(seed: int) -> list[Article]:
    """All articles of a seed, with the families mixed."""
    draw = Draw("squad", seed)
    written = []
    for family, (name, subject_list) in enumerate(_subjects(draw).items()):
        texts = lists("articles")[name]
        aspects, fillers = parse_aspects(texts["aspects"]), texts["fillers"].splitlines()
        for number, subject in enumerate(subject_list):
            written.append(_write((seed, family, number), subject, aspects, fillers))
    return draw.shuffled(written)


def _subjects(draw: Draw) -> dict[str, list[Subject]]:
    """The subjects by family; each has a town of its own, so no two share a name."""
    towns = names.towns(draw, 4 * ARTICLES_PER_FAMILY)
    groups = [towns[i::4] for i in range(4)]
    kinds = {name: lists("articles")[name]["kinds"] for name in ("structures", "societies", "crafts")}
    crafts = [draw.one(kinds["crafts"]) for _ in groups[3]]
    return {
        "towns": [Subject(town, "town", town, town) for town in groups[0]],
        "structures": [
            _named(town, kind, kind.lower()) for town in groups[1] for kind in [draw.one(kinds["structures"])]
        ],
        "societies": [_named(town, kind, "society") for town in groups[2] for kind in [draw.one(kinds["societies"])]],
        "crafts": [_named(town, *craft.split(": ")) for town, craft in zip(groups[3], crafts, strict=True)],
    }


def _named(town: str, thing: str, kind: str) -> Subject:
    return Subject(f"the {town} {thing}", kind, town, f"{town} {thing}")


def _write(key: tuple[int, ...], subject: Subject, aspects: tuple[Aspect, ...], filler_lines: list[str]) -> Article:
    for attempt in range(_ATTEMPTS):
        article = _attempt(Draw("article", *key, attempt), subject, aspects, filler_lines)
        if article is not None:
            return article
    raise ValueError(f"no article about {subject.phrase} in {_ATTEMPTS} attempts: the value lists are too short")


def _attempt(draw: Draw, subject: Subject, aspects: tuple[Aspect, ...], filler_lines: list[str]) -> Article | None:
    """Make an article, or None if an early value occurs in the fixed words of a later paragraph."""
    article, decks = Article(), Decks(draw)
    filler_deck = draw.shuffled(filler_lines)
    for aspect in draw.some(aspects, PARAGRAPHS_PER_ARTICLE):
        for _ in range(_ATTEMPTS_PER_PARAGRAPH):
            paragraph, questions, used = _paragraph(draw, Filling(decks, subject.slots), aspect, filler_deck)
            if article.admits(paragraph, questions):
                break
        else:
            return None
        article.paragraphs.append(paragraph)
        article.questions.append(questions)
        # Move the used fillers to the end of the deck, so that they recur as late as possible.
        filler_deck = filler_deck[used:] + filler_deck[:used]
    return article


def _paragraph(
    draw: Draw, filling: Filling, aspect: Aspect, filler_deck: list[str]
) -> tuple[str, list[tuple[str, tuple[str, ...]]], int]:
    """Make a paragraph and its questions, and return how many fillers it took from the head of the deck."""
    sentences = [filling.sentence(draw.one(ways)) for ways in aspect.sentences]
    used = 0
    while sum(len(sentence.split()) for sentence in sentences) < PARAGRAPH_WORDS[0] + draw.below(12):
        sentences.insert(1 + draw.below(len(sentences)), filling.sentence(filler_deck[used]))
        used += 1
    text = " ".join(sentences)
    questions = []
    for question, answers in aspect.questions:
        filled = dict.fromkeys(filling.fill(answer) for answer in answers)
        # Which aliases occur depends on the template chosen for the sentence.
        questions.append((filling.fill(question), tuple(answer for answer in filled if answer in text)))
    return text, questions, used


def documents_and_questions(seed: int) -> tuple[tuple[str, ...], tuple[Question, ...]]:
    """The corpus as in SQuAD: paragraphs are documents, and the article's other paragraphs are related documents."""
    documents: list[str] = []
    questions: list[Question] = []
    for article in articles(seed):
        places = range(len(documents), len(documents) + len(article.paragraphs))
        documents.extend(article.paragraphs)
        for gold, asked in zip(places, article.questions, strict=True):
            related = tuple(place for place in places if place != gold)
            questions.extend(Question(question, answers, (gold,), related) for question, answers in asked)
    return tuple(documents), tuple(questions)
