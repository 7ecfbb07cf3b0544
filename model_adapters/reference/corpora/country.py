"""Generate HotpotQA-like questions that need two documents of an invented country, each with ten documents."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.world import Entity, Person, World, make_world
from model_adapters.reference.corpora.world_documents import write_documents
from suites.corpora.records import Question

QUESTIONS = 520
DOCUMENTS_PER_QUESTION = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, with the two things whose documents answer it."""

    question: str
    answers: tuple[str, ...]
    gold: tuple[Entity, Entity]


T = TypeVar("T")
Asker = Callable[[World, Draw], Asked]


def documents_and_questions(seed: int) -> tuple[tuple[str, ...], tuple[Question, ...]]:
    """The corpus as in HotpotQA: all documents of one invented country, and questions over pairs of them."""
    draw = Draw("hotpotqa", seed)
    world = make_world(draw)
    written = write_documents(world, draw)
    titles = draw.shuffled(list(written))
    place = {title: index for index, title in enumerate(titles)}
    questions: dict[str, Question] = {}
    while len(questions) < QUESTIONS:
        asked = ASKERS[len(questions) % len(ASKERS)](world, draw)
        gold = tuple(place[entity.name] for entity in asked.gold)
        related = tuple(place[title] for title in _distractors(world, draw, asked.gold))
        questions.setdefault(asked.question, Question(asked.question, asked.answers, gold, related))
    return tuple(written[title] for title in titles), tuple(draw.shuffled(list(questions.values())))


def _distractors(world: World, draw: Draw, gold: tuple[Entity, Entity]) -> list[str]:
    """Titles that could be mistaken for the gold ones: of the same class, the most similar ones first."""
    chosen: list[str] = []
    for number, entity in enumerate(gold, start=1):
        wanted = (DOCUMENTS_PER_QUESTION - 2) * number // 2
        sort = draw.shuffled(world.of_sort(entity))
        alike = [other for other in sort if other.resembles(entity)]
        for other in [*alike, *sort]:
            if len(chosen) == wanted:
                break
            if other not in gold and other.name not in chosen:
                chosen.append(other.name)
    return chosen


def _his(person: Person) -> str:
    return "her" if person.he == "she" else "his"


def _birthplace_of_creator(world: World, draw: Draw) -> Asked:
    work = draw.one(world.works)
    question = f"In which town was the creator of the {work.kind} {work.name} born?"
    return Asked(question, (work.creator.town.name,), (work, work.creator))


def _teacher_of_creator(world: World, draw: Draw) -> Asked:
    work = draw.one(world.works)
    question = f"Under whom did the {work.creator.profession} of {work.name} study?"
    return Asked(question, _person_aliases(work.creator.teacher), (work, work.creator))


def _hobby_of_creator(world: World, draw: Draw) -> Asked:
    work = draw.one(world.works)
    who = work.creator
    question = f"What was the person who created {work.name} fond of in {_his(who)} free time?"
    return Asked(question, (who.hobby,), (work, who))


def _river_of_premiere(world: World, draw: Draw) -> Asked:
    work = draw.one(world.works)
    question = f"On which river lies the town where {work.name} was first presented?"
    return Asked(question, (work.place.river,), (work, work.place))


def _birth_year_of_founder(world: World, draw: Draw) -> Asked:
    company = draw.one(world.companies)
    question = f"In which year was the founder of {company.name} born?"
    return Asked(question, (str(company.founder.born),), (company, company.founder))


def _profession_of_founder(world: World, draw: Draw) -> Asked:
    company = draw.one(world.companies)
    question = f"What was the profession of the person who founded {company.name}?"
    return Asked(question, (company.founder.profession,), (company, company.founder))


def _birthplace_of_engineer(world: World, draw: Draw) -> Asked:
    bridge = draw.one(world.bridges)
    question = f"Where was the designer of the {bridge.name} born?"
    return Asked(question, (bridge.engineer.town.name,), (bridge, bridge.engineer))


def _product_of_birthplace(world: World, draw: Draw) -> Asked:
    person = draw.one(world.people)
    question = f"For what is the birthplace of the {person.profession} {person.name} known?"
    return Asked(question, (person.town.product,), (person, person.town))


def _county_of_birthplace(world: World, draw: Draw) -> Asked:
    person = draw.one(world.people)
    question = f"In which county was the {person.profession} {person.name} born?"
    return Asked(question, (person.town.county,), (person, person.town))


def _born_earlier(world: World, draw: Draw) -> Asked:
    one, other = _pair(draw, world.people, lambda person: person.born)
    question = f"Who was born earlier, {one.name} or {other.name}?"
    return Asked(question, _person_aliases((one if one.born < other.born else other).name), (one, other))


def _founded_first(world: World, draw: Draw) -> Asked:
    one, other = _pair(draw, world.companies, lambda company: company.year)
    question = f"Which was founded first, {one.name} or {other.name}?"
    return Asked(question, ((one if one.year < other.year else other).name,), (one, other))


def _longer_bridge(world: World, draw: Draw) -> Asked:
    one, other = _pair(draw, world.bridges, lambda bridge: bridge.metres)
    question = f"Which is longer, the {one.name} or the {other.name}?"
    return Asked(question, ((one if one.metres > other.metres else other).name,), (one, other))


def _larger_town(world: World, draw: Draw) -> Asked:
    one, other = _pair(draw, world.towns, lambda town: town.people)
    question = f"Which town has more inhabitants, {one.name} or {other.name}?"
    return Asked(question, ((one if one.people > other.people else other).name,), (one, other))


def _same_county(world: World, draw: Draw) -> Asked:
    one, other, same = _maybe_same(draw, world.towns, lambda town: town.county)
    return Asked(f"Are the towns {one.name} and {other.name} in the same county?", same, (one, other))


def _same_profession(world: World, draw: Draw) -> Asked:
    one, other, same = _maybe_same(draw, world.people, lambda person: person.profession)
    return Asked(f"Did {one.name} and {other.name} have the same profession?", same, (one, other))


def _same_river(world: World, draw: Draw) -> Asked:
    one, other, same = _maybe_same(draw, world.bridges, lambda bridge: bridge.town.river)
    return Asked(f"Do the {one.name} and the {other.name} cross the same river?", same, (one, other))


ASKERS: tuple[Asker, ...] = (
    _birthplace_of_creator,
    _born_earlier,
    _teacher_of_creator,
    _same_county,
    _hobby_of_creator,
    _founded_first,
    _river_of_premiere,
    _birth_year_of_founder,
    _same_profession,
    _profession_of_founder,
    _longer_bridge,
    _birthplace_of_engineer,
    _product_of_birthplace,
    _same_river,
    _county_of_birthplace,
    _larger_town,
)


def _pair(draw: Draw, things: tuple[T, ...], figure: Callable[[T], int]) -> tuple[T, T]:
    """Two things with different figures."""
    while True:
        one, other = draw.some(things, 2)
        if figure(one) != figure(other):
            return one, other


def _maybe_same(draw: Draw, things: tuple[T, ...], feature: Callable[[T], str]) -> tuple[T, T, tuple[str]]:
    """Two different things that share the feature in about half of all draws, and whether they do."""
    want_same = draw.random() < 0.5
    while True:
        one, other = draw.some(things, 2)
        if (feature(one) == feature(other)) == want_same:
            return one, other, ("yes" if want_same else "no",)


def _person_aliases(name: str) -> tuple[str, ...]:
    return name, name.rpartition(" ")[2]
