"""qa_1 and qa_2: questions over documents, few of which have the answer."""

import math
from collections.abc import Iterator
from itertools import chain, islice

from evalkit.running.excerpts import places_of
from suites.corpora import Question, QuestionCorpus
from suites.draws import Draws
from suites.ruler.fitting import Layout
from suites.ruler.measure import Measure

_INSTRUCTION = (
    "Answer the question based on the given documents. Only give me the answer and do not output any other words."
)
TEMPLATE = (
    f"{_INSTRUCTION}\n\nThe following are given documents.\n\n{{context}}\n\n{_INSTRUCTION}\n\nQuestion: {{query}}"
)
PREFIX = " Answer:"
DOCUMENT = "Document {number}:\n{text}"
_JOINT = "\n\n"
GAP_CANDIDATES = 64
"""Number of documents among which one is chosen to fill the last gap."""


def question_index(count: int, draws: Draws, index: int) -> int:
    """The question of sample `index` among `count`; none repeats before all were used.

    An affine permutation, which gives one question without drawing the others and moves neighbours in the file, which
    share an article, far apart.
    """
    if count == 1:
        return 0
    offset = draws.below(count)
    step = 1 + draws.below(count - 1)
    while math.gcd(step, count) != 1:
        step = 1 + draws.below(count - 1)
    return (offset + index * step) % count


class DocumentTokens:
    """Token counts of a corpus's documents, counted when first needed."""

    def __init__(self, corpus: QuestionCorpus, measure: Measure) -> None:
        self.corpus = corpus
        self._measure = measure
        self._text: dict[int, int] = {}
        self._heading: dict[int, int] = {}

    def of(self, document: int, number: int) -> int:
        """Tokens of `document` as the prompt's document `number`, including the blank line after it.

        After, not before: many tokenizers join a full stop with the line ends that follow it.
        """
        if document not in self._text:
            self._text[document] = self._measure.count(self.corpus.documents[document] + _JOINT)
        digits = len(str(number))
        if digits not in self._heading:
            self._heading[digits] = self._measure.count(DOCUMENT.format(number="8" * digits, text=""))
        return self._text[document] + self._heading[digits]


class QuestionDraft:
    """A question's sample whose size, its number of distractors, is still open."""

    smallest: tuple[int, ...] = ()
    prefix = PREFIX

    def __init__(self, question: Question, tokens: DocumentTokens, draws: Draws, order: Draws) -> None:
        """`draws` gives the distractors; `order` the place of each document."""
        self._question, self._tokens = question, tokens
        self._places = {document: order.fraction() for document in question.gold}
        self._order = order
        self._candidates = self._draw(draws)
        self._drawn: list[int] = []
        self.targets = question.answers

    def largest(self, tokens: int) -> tuple[int, ...]:
        """Distractors in the order drawn until one is too long, then the longest of the next that fit the gap."""
        chosen: list[int] = []
        number = len(self._question.gold)
        while (document := self._candidate(len(chosen))) is not None:
            number += 1
            cost = self._tokens.of(document, number)
            if cost > tokens:
                return tuple(chosen + self._fill(len(chosen), number, tokens))
            tokens -= cost
            chosen.append(document)
        return tuple(chosen)

    def layout(self, size: tuple[int, ...]) -> Layout:
        documents = sorted((*self._question.gold, *size), key=self._place)
        texts = self._tokens.corpus.documents
        context = _JOINT.join(
            DOCUMENT.format(number=number, text=texts[document]) for number, document in enumerate(documents, start=1)
        )
        places = {document: place for place, document in enumerate(documents)}
        body = TEMPLATE.format(context=context, query=self._question.question)
        return Layout(
            body=body,
            depths=tuple(self._places[document] for document in self._question.gold),
            gold_positions=tuple(places[document] for document in self._question.gold),
            evidence=tuple(self._evidence(body, texts[document]) for document in self._question.gold),
        )

    def _evidence(self, body: str, text: str) -> tuple[int, int]:
        """The answer in a document that has it, else the whole document."""
        start = body.index(text)
        found = places_of(text, self._question.answers) or ((0, len(text)),)
        return start + found[0][0], start + found[0][1]

    def _fill(self, start: int, number: int, tokens: int) -> list[int]:
        """More documents for a gap of `tokens`, from candidate `start` on, the longest that fits first."""
        pool = [
            document
            for place in range(start, start + GAP_CANDIDATES)
            if (document := self._candidate(place)) is not None
        ]
        texts = self._tokens.corpus.documents
        # By characters, so that only documents near the gap's size are tokenised.
        pool.sort(key=lambda document: (-len(texts[document]), document))
        per_character = self._tokens_per_character()
        chosen: list[int] = []
        for document in pool:
            if len(texts[document]) * per_character > tokens * 1.1:
                continue
            cost = self._tokens.of(document, number)
            if cost <= tokens:
                chosen.append(document)
                tokens -= cost
                number += 1
        return chosen

    def _tokens_per_character(self) -> float:
        gold = self._question.gold
        characters = sum(len(self._tokens.corpus.documents[document]) for document in gold)
        return sum(self._tokens.of(document, 1) for document in gold) / characters

    def _candidate(self, place: int) -> int | None:
        """The distractor drawn at `place`, or None if the corpus has no more."""
        self._drawn += islice(self._candidates, max(0, place + 1 - len(self._drawn)))
        return self._drawn[place] if place < len(self._drawn) else None

    def _draw(self, draws: Draws) -> Iterator[int]:
        related = self._question.related
        own = {*self._question.gold, *related}
        everything = (document for document in draws.order(len(self._tokens.corpus.documents)) if document not in own)
        return chain((related[place] for place in draws.order(len(related))), everything)

    def _place(self, document: int) -> float:
        if document not in self._places:
            self._places[document] = self._order.fraction()
        return self._places[document]
