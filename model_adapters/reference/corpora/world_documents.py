"""Generate documents about an invented country, with a title and three to six sentences each."""

from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.words import lists, with_article
from model_adapters.reference.corpora.world import Bridge, Company, Person, Town, Work, World

_EXTRAS: dict[str, list[str]] = lists("country")["extras"]


def write_documents(world: World, draw: Draw) -> dict[str, str]:
    """The documents' texts by title: title, newline, sentences."""
    documents: dict[str, str] = {}
    for town in world.towns:
        documents[town.name] = _write(draw, town.name, _town(town), _EXTRAS["town"])
    for person in world.people:
        documents[person.name] = _write(draw, person.name, _person(person, draw), _EXTRAS["person"])
    for work in world.works:
        documents[work.name] = _write(draw, work.name, _work(work, draw), _EXTRAS["work"])
    for company in world.companies:
        documents[company.name] = _write(draw, company.name, _company(company), _EXTRAS["company"])
    for bridge in world.bridges:
        documents[bridge.name] = _write(draw, bridge.name, _bridge(bridge), _EXTRAS["bridge"])
    return documents


def _write(draw: Draw, title: str, facts: list[str], extras: list[str]) -> str:
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
