"""Corpora that come with evalkit, used if there are no others: the compressed files in the folder `data`.

They were written by `python -m model_adapters.reference.corpora`, and each is identified by the
sha256 of its uncompressed text.
"""

import hashlib
import json
import lzma
from functools import cache
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.records import CorpusUse
from suites.corpora.records import Essays, Question, QuestionCorpus

DATA = Path(__file__).parent / "data"
SEED = 0
FILES = {"essays": "essays.txt.xz", "squad": "squad.json.xz", "hotpotqa": "hotpotqa.json.xz"}
_NAMES = {"essays": "embedded-prose-v1", "squad": "embedded-articles-v1", "hotpotqa": "embedded-country-v1"}
_SHA256 = {
    "essays": "1a1414865013a196582a45cc38df5e437e9142c53b15f75066d688e246745d89",
    "squad": "a6a348092465c65ee28f754ff34996f4dcd6cf759562dd16803fc61c9ce477b9",
    "hotpotqa": "11a31ca5352c4c367ebb369104cf6894204e5e44de5888534018e0cda988dd9b",
}


def embedded_use(role: str) -> CorpusUse:
    """The embedded corpus of a role, as records name it."""
    return CorpusUse(role, f"{_NAMES[role]}/seed{SEED}", _SHA256[role], "embedded")


@cache
def embedded_essays() -> Essays:
    """More than a million words of prose; UsageError if the installed file is damaged."""
    return Essays(embedded_use("essays"), tuple(_read("essays").splitlines()))


@cache
def embedded_squad() -> QuestionCorpus:
    """Ninety-six articles about invented places and things; one paragraph of an article holds the answer."""
    return _read_questions("squad")


@cache
def embedded_hotpotqa() -> QuestionCorpus:
    """Documents about an invented country; each question needs two of them and has eight distractors."""
    return _read_questions("hotpotqa")


def _read_questions(role: str) -> QuestionCorpus:
    fields = json.loads(_read(role))
    questions = (
        Question(text, tuple(answers), tuple(gold), tuple(related))
        for text, answers, gold, related in fields["questions"]
    )
    return QuestionCorpus(embedded_use(role), tuple(fields["documents"]), tuple(questions))


def _read(role: str) -> str:
    """The text of a role's file, checked against its sha256."""
    path = DATA / FILES[role]
    try:
        content = lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); install evalkit again") from None
    if hashlib.sha256(content).hexdigest() != _SHA256[role]:
        raise UsageError(f"{path}: damaged: its text has another sha256; install evalkit again")
    return content.decode()
