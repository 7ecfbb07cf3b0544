"""Which corpus a generator makes, as one hash: it changes whenever the same seed could give another text."""

import hashlib
from functools import cache
from pathlib import Path

_SHARED = ("stream.py", "numbers.py", "names.py")
_SOURCES = {
    "essays": (
        *_SHARED,
        "essays.py",
        "frames.py",
        "grammar.py",
        "phrases.py",
        "topic.py",
        "topic_rules.py",
        "topics_craft.py",
        "topics_land.py",
        "topics_mind.py",
        "topics_town.py",
    ),
    "squad": (
        *_SHARED,
        "aspects_craft.py",
        "aspects_place.py",
        "aspects_society.py",
        "aspects_structure.py",
        "facts.py",
        "fillers.py",
        "squad.py",
        "subjects.py",
        "topic.py",
        "values.py",
    ),
    "hotpotqa": (*_SHARED, "hotpotqa.py", "topic.py", "world.py", "world_documents.py"),
}


def definition_sha256(corpus: str, seed: int) -> str:
    """sha256 over the generator's source files (name, length, content with \\n line ends) and the seed."""
    digest = _sources_digest(corpus).copy()
    digest.update(f"seed {seed}\n".encode())
    return digest.hexdigest()


@cache
def _sources_digest(corpus: str) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for name in _SOURCES[corpus]:
        content = Path(__file__).with_name(name).read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest
