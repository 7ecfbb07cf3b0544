"""The corpus for each role: from the folder in EVALKIT_DATA, else the cache, else the embedded one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.records import CorpusUse
from evalkit.records.codec import RecordError, parse_json
from evalkit.surrogates import half_surrogate
from suites.corpora import folder
from suites.corpora.embedded import embedded_essays, embedded_hotpotqa, embedded_squad, embedded_use
from suites.corpora.files import read_file
from suites.corpora.folder import Found
from suites.corpora.lock import LOCK, corpora_folder, read_lock
from suites.corpora.prose import MIN_PROSE_CHARACTERS, is_prose, sentences_of
from suites.corpora.questions import Parsed, parse_hotpotqa, parse_squad
from suites.corpora.records import Essays, QuestionCorpus
from suites.corpora.sources import ROLES, SOURCES


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of `evalkit data list`."""

    role: str
    name: str
    source: str
    sha256: str
    state: str
    """What the sha256 is based on."""


def load_essays() -> Essays:
    """Load the haystack, once per process. Raises UsageError for a malformed file."""
    return _essays(*_where())


def load_squad() -> QuestionCorpus:
    """Load SQuAD v2's development set or its replacement; as `load_essays`."""
    return _squad(*_where())


def load_hotpotqa() -> QuestionCorpus:
    """Load HotpotQA's development set or its replacement; as `load_essays`."""
    return _hotpotqa(*_where())


def list_corpora() -> tuple[Listed, ...]:
    """The present corpus of each role, read only as far as is needed to name it."""
    return tuple(_listed(role) for role in ROLES)


def _listed(role: str) -> Listed:
    found = _find(role, folder.data_folder())
    use, state = (found.use, found.state) if found else (embedded_use(role), "part of evalkit")
    return Listed(use.role, use.name, use.source, use.sha256, state)


def _where() -> tuple[Path | None, Path, int]:
    """Key of the caches below: the two folders, and the time of the last fetch."""
    cache = corpora_folder()
    lock = cache / LOCK
    return folder.data_folder(), cache, lock.stat().st_mtime_ns if lock.exists() else 0


def _find(role: str, data: Path | None) -> Found | None:
    """The role's files, None for the embedded corpus."""
    found = folder.find(role, data) if data is not None else None
    return found or _find_fetched(role)


def _find_fetched(role: str) -> Found | None:
    entry = read_lock().get(role)
    path = corpora_folder() / (entry.file if entry else SOURCES[role].file)
    if not path.exists():
        return None
    file = read_file(path)
    if entry is None or file.sha256 != entry.sha256:
        expected = f"{entry.sha256[:16]}…" if entry else "none on record"
        raise UsageError(
            f"{path}: corrupt: sha256 {file.sha256[:16]}…, expected {expected}; run `evalkit data fetch --roles {role}`"
        )
    use = CorpusUse(role, entry.file, file.sha256, entry.url)
    state = "as published" if entry.pinned else "as first fetched"
    return Found(use, tuple((str(path), member.data) for member in file.members), state)


# Corpora are immutable, so they are loaded once per process and value of `_where`.
@lru_cache(maxsize=2)
def _essays(data: Path | None, _cache: Path, _fetched: int) -> Essays:
    found = _find("essays", data)
    if found is None:
        return embedded_essays()
    sentences = tuple(sentence for shown, content in found.texts for sentence in _essay_sentences(shown, content))
    return Essays(found.use, sentences)


def _essay_sentences(shown: str, content: bytes) -> tuple[str, ...]:
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        sentences = sentences_of(_text_of_json(shown, content))
    else:
        text = _decoded(content)
        sentences = sentences_of(text) if len(text) < MIN_PROSE_CHARACTERS or is_prose(text) else ()
    if not sentences:
        raise UsageError(f"{shown}: not running text; use essays or novels, or remove the file")
    return sentences


def _text_of_json(shown: str, content: bytes) -> str:
    try:
        tree = parse_json(content, finite=False)
    except RecordError as error:
        raise UsageError(f"{shown}: {error}; use the file that RULER's download makes, or remove it") from None
    text = tree.get("text") if isinstance(tree, dict) else None
    if not isinstance(text, str):
        raise UsageError(f"{shown}: has no text `text`; use the file that RULER's download makes, or remove it")
    if (position := half_surrogate(text)) is not None:
        raise UsageError(
            f"{shown}: character {position:,} of `text` is half a surrogate pair; write it whole, or remove the file"
        )
    return text


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@lru_cache(maxsize=2)
def _squad(data: Path | None, _cache: Path, _fetched: int) -> QuestionCorpus:
    return _question_corpus(_find("squad", data), parse_squad) or embedded_squad()


@lru_cache(maxsize=2)
def _hotpotqa(data: Path | None, _cache: Path, _fetched: int) -> QuestionCorpus:
    return _question_corpus(_find("hotpotqa", data), parse_hotpotqa) or embedded_hotpotqa()


def _question_corpus(found: Found | None, parse: Callable[[bytes, str], Parsed]) -> QuestionCorpus | None:
    if found is None:
        return None
    ((shown, content),) = found.texts
    return QuestionCorpus(found.use, *parse(content, shown))
