"""Documents about an invented country: a title and three to six sentences each."""

from suites.corpora.embedded.stream import Draw
from suites.corpora.embedded.topic import with_article
from suites.corpora.embedded.world import Bridge, Company, Person, Town, Work, World

_TOWN_EXTRAS = (
    "Its streets were laid out after a fire.",
    "The old quarter is closed to carts on market days.",
    "A statue of an unknown rider stands in the main square.",
    "The population has fallen slowly since the mines closed.",
    "Most visitors come in autumn for the fair.",
    "The town wall was pulled down to make room for gardens.",
    "The local dialect has eleven words for fog.",
)
_PERSON_EXTRAS = (
    "Contemporaries described a shy person with a loud laugh.",
    "Most of the letters that survive concern money.",
    "A small museum keeps the writing desk and a pair of boots.",
    "Two earlier biographies are considered unreliable.",
    "The family had come to the country as salt traders.",
    "Little is known about the last years.",
    "A street in the capital bears the name.",
)
_WORK_EXTRAS = (
    "Critics disliked it at first.",
    "The manuscript was thought lost until it turned up in a hat box.",
    "It has been translated into nine languages.",
    "An early version had a different ending.",
    "The title is explained nowhere.",
    "It is often confused with a later imitation.",
    "A film based on it was begun but never finished.",
)
_COMPANY_EXTRAS = (
    "It survived two bankruptcies and a flood.",
    "Its records were moved to the county archive.",
    "For many years it was the largest employer of the district.",
    "Its colours are green and white.",
    "The original building is now a school.",
    "A brass band made up of its members still performs.",
    "Its motto is carved above the entrance.",
)
_BRIDGE_EXTRAS = (
    "It replaced a ferry.",
    "The railings were renewed after an accident.",
    "It was closed for two winters because of ice damage.",
    "A toll was collected in the early years.",
    "It is lit at night.",
    "Local legend says that it hums before a storm.",
    "Its piers stand on oak piles.",
)


def write_documents(world: World, draw: Draw) -> dict[str, str]:
    """Document text by title: title, newline, sentences."""
    documents: dict[str, str] = {}
    for town in world.towns:
        documents[town.name] = _write(draw, town.name, _town(town), _TOWN_EXTRAS)
    for person in world.people:
        documents[person.name] = _write(draw, person.name, _person(person, draw), _PERSON_EXTRAS)
    for work in world.works:
        documents[work.name] = _write(draw, work.name, _work(work, draw), _WORK_EXTRAS)
    for company in world.companies:
        documents[company.name] = _write(draw, company.name, _company(company), _COMPANY_EXTRAS)
    for bridge in world.bridges:
        documents[bridge.name] = _write(draw, bridge.name, _bridge(bridge), _BRIDGE_EXTRAS)
    return documents


def _write(draw: Draw, title: str, facts: list[str], extras: tuple[str, ...]) -> str:
    chosen = draw.some(extras, draw.between(1, 6 - len(facts)))
    return f"{title}\n{' '.join([*facts, *chosen])}"


def _town(town: Town) -> list[str]:
    return [
        f"{town.name} is a town on the river {town.river} in the county of {town.county}.",
        f"It received its charter in {town.chartered} and has {town.people:,} inhabitants.",
        f"The town is known for its {town.product}, which are still made by a few families."
        if town.product.endswith("s")
        else f"The town is known for its {town.product}, which is still made by a few families.",
    ]


def _person(person: Person, draw: Draw) -> list[str]:
    his = "her" if person.he == "she" else "his"
    opening = draw.one(
        (
            f"{person.name} (born {person.born} in {person.town.name}) was {with_article(person.profession)}.",
            f"{person.name} was {with_article(person.profession)} who was born in {person.town.name} in {person.born}.",
            f"Born in {person.town.name} in {person.born}, {person.name} was {with_article(person.profession)}.",
        )
    )
    return [
        opening,
        f"{person.he.capitalize()} studied under {person.teacher} and soon went {his} own way.",
        f"In {his} free time {person.he} was fond of {person.hobby}.",
    ]


def _work(work: Work, draw: Draw) -> list[str]:
    opening = draw.one(
        (
            f"{work.name} is {with_article(work.kind)} by {work.creator.name}.",
            f"{work.name} is the title of {with_article(work.kind)} that {work.creator.name} completed in {work.year}.",
            f"{work.creator.name} is the creator of {work.name}, {with_article(work.kind)}.",
        )
    )
    return [opening, f"It was first presented to the public in {work.place.name} in {work.year}."]


def _company(company: Company) -> list[str]:
    return [
        f"{company.name} is {with_article(company.kind)} based in {company.town.name}.",
        f"It was founded in {company.year} by {company.founder.name}.",
    ]


def _bridge(bridge: Bridge) -> list[str]:
    return [
        f"The {bridge.name} crosses the river {bridge.town.river} at {bridge.town.name}.",
        f"It was designed by {bridge.engineer.name} and opened in {bridge.year}.",
        f"Its total length is {bridge.metres} metres.",
    ]
