"""Generate an invented country: towns, people, works, companies and bridges that refer to one another."""

from dataclasses import dataclass

from model_adapters.reference.corpora import names
from model_adapters.reference.corpora.stream import Draw
from model_adapters.reference.corpora.words import lists

TOWNS = 340
PEOPLE = 760
WORKS = 560
COMPANIES = 320
BRIDGES = 320

_LISTS = lists("country")
_PROFESSIONS: dict[str, str] = _LISTS["professions"]


@dataclass(frozen=True, slots=True)
class Town:
    name: str
    county: str
    river: str
    product: str
    people: int
    chartered: int

    def resembles(self, other: "Entity") -> bool:
        """Whether a careless reader could confuse the two."""
        return isinstance(other, Town) and self.county == other.county


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    he: str
    profession: str
    born: int
    town: Town
    hobby: str
    teacher: str

    def resembles(self, other: "Entity") -> bool:
        """Whether a careless reader could confuse the two."""
        return isinstance(other, Person) and (
            self.profession == other.profession or self.name.split()[1] == other.name.split()[1]
        )


@dataclass(frozen=True, slots=True)
class Work:
    name: str
    kind: str
    creator: Person
    year: int
    place: Town

    def resembles(self, other: "Entity") -> bool:
        """Whether a careless reader could confuse the two."""
        return isinstance(other, Work) and (
            self.name.split()[1] == other.name.split()[1] or self.name.split()[2] == other.name.split()[2]
        )


@dataclass(frozen=True, slots=True)
class Company:
    name: str
    kind: str
    founder: Person
    year: int
    town: Town

    def resembles(self, other: "Entity") -> bool:
        """Whether a careless reader could confuse the two."""
        return isinstance(other, Company) and self.kind == other.kind


@dataclass(frozen=True, slots=True)
class Bridge:
    name: str
    town: Town
    engineer: Person
    year: int
    metres: int

    def resembles(self, other: "Entity") -> bool:
        """Whether a careless reader could confuse the two."""
        return isinstance(other, Bridge) and self.town.river == other.town.river


Entity = Town | Person | Work | Company | Bridge


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the documents are about; names are document titles, and no two are equal."""

    towns: tuple[Town, ...]
    people: tuple[Person, ...]
    works: tuple[Work, ...]
    companies: tuple[Company, ...]
    bridges: tuple[Bridge, ...]

    def of_sort(self, entity: Entity) -> tuple[Entity, ...]:
        """All things of the given thing's class."""
        sorts: dict[type, tuple[Entity, ...]] = {
            Town: self.towns,
            Person: self.people,
            Work: self.works,
            Company: self.companies,
            Bridge: self.bridges,
        }
        return sorts[type(entity)]


def make_world(draw: Draw) -> World:
    """Generate a world of the standard size; no two of its documents have the same title."""
    towns = tuple(_town(draw, name) for name in names.towns(draw, TOWNS))
    people = tuple(_person(draw, name, he, towns) for name, he in _person_names(draw))
    return World(
        towns, people, _works(draw, people, towns), _companies(draw, people, towns), _bridges(draw, people, towns)
    )


def _town(draw: Draw, name: str) -> Town:
    return Town(
        name,
        draw.one(_LISTS["counties"]),
        draw.one(_LISTS["rivers"]),
        draw.one(_LISTS["products"]),
        draw.between(900, 94_000),
        draw.between(1150, 1690),
    )


def _person_names(draw: Draw) -> list[tuple[str, str]]:
    surnames = [names.surname(draw) for _ in range(400)]
    found: dict[str, str] = {}
    while len(found) < PEOPLE:
        group, he = (names.WOMEN, "she") if draw.random() < 0.5 else (names.MEN, "he")
        found.setdefault(f"{draw.one(group)} {draw.one(surnames)}", he)
    return list(found.items())


def _person(draw: Draw, name: str, he: str, towns: tuple[Town, ...]) -> Person:
    profession = draw.one((*_PROFESSIONS.values(), *_LISTS["other_professions"]))
    teacher = f"{draw.one((*names.WOMEN, *names.MEN))} {names.surname(draw)}"
    return Person(name, he, profession, draw.between(1640, 1915), draw.one(towns), draw.one(_LISTS["hobbies"]), teacher)


def _works(draw: Draw, people: tuple[Person, ...], towns: tuple[Town, ...]) -> tuple[Work, ...]:
    by_profession = {
        kind: [person for person in people if person.profession == profession]
        for kind, profession in _PROFESSIONS.items()
    }
    found: dict[str, Work] = {}
    while len(found) < WORKS:
        title = f"The {draw.one(_LISTS['title_adjectives'])} {draw.one(_LISTS['title_nouns'])}"
        kind = draw.one(tuple(_PROFESSIONS))
        creator = draw.one(by_profession[kind])
        found.setdefault(title, Work(title, kind, creator, creator.born + draw.between(22, 70), draw.one(towns)))
    return tuple(found.values())


def _companies(draw: Draw, people: tuple[Person, ...], towns: tuple[Town, ...]) -> tuple[Company, ...]:
    found: dict[str, Company] = {}
    while len(found) < COMPANIES:
        town, kind, founder = draw.one(towns), draw.one(_LISTS["company_kinds"]), draw.one(people)
        name = f"{town.name} {kind}"
        found.setdefault(name, Company(name, kind.lower(), founder, founder.born + draw.between(24, 60), town))
    return tuple(found.values())


def _bridges(draw: Draw, people: tuple[Person, ...], towns: tuple[Town, ...]) -> tuple[Bridge, ...]:
    engineers = [person for person in people if person.profession == "engineer"]
    found: dict[str, Bridge] = {}
    while len(found) < BRIDGES:
        town, engineer = draw.one(towns), draw.one(engineers)
        name = f"{town.name} {draw.one(('Bridge', 'New Bridge', 'Railway Bridge', 'Footbridge'))}"
        year = engineer.born + draw.between(25, 62)
        found.setdefault(name, Bridge(name, town, engineer, year, draw.between(18, 740)))
    return tuple(found.values())
