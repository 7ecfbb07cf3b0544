"""Search for a role's files in the folder EVALKIT_DATA, by name and by content."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.records import CorpusUse
from suites.corpora.files import CorpusFile, Member, plain_name, read_file
from suites.corpora.prose import is_prose

DATA_VARIABLE = "EVALKIT_DATA"

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
_NOT_A_CORPUS = re.compile(r"readme|licen[cs]e|copying|notice|changes|provenance|requirements", re.IGNORECASE)
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Found:
    """A role's texts, with their name in records."""

    use: CorpusUse
    texts: tuple[tuple[str, bytes], ...]
    """Name for messages, and content."""
    state: str


@dataclass(frozen=True, slots=True)
class _Role:
    hint: re.Pattern[str]
    """Paths that claim to be this role: such a file is used or refused, never ignored."""
    holds: Callable[[Member], bool]
    """Whether the content fits this role."""
    meant: re.Pattern[str] | None = None
    """Name of the right file among several; None for a role that uses all files."""


def data_folder() -> Path | None:
    """The folder in EVALKIT_DATA, None if the variable is not set; UsageError if there is no such folder."""
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"{DATA_VARIABLE}={named}: no such folder; name the folder that holds the corpora, or unset it"
        )
    return folder


def find(role: str, folder: Path) -> Found | None:
    """The role's files in the folder and below, None if there are none.

    If several files fit, the published name decides; UsageError if it does not.
    """
    suffixes = (".json",)
    if role == "essays":
        # The essays are preferred to novels, which replace them.
        collected = _take(_ROLES["essays_json"], folder, suffixes) or _take(_ROLES["novels"], folder, (".txt",))
    else:
        collected = _take(_ROLES[role], folder, suffixes)
    if not collected:
        return None
    texts = tuple((f"{file.path}{_inside(file, member)}", member.data) for file, member in collected)
    return Found(_use(role, tuple({file.path: file for file, _ in collected}.values())), texts, "taken as it is")


def _take(role: _Role, folder: Path, suffixes: tuple[str, ...]) -> list[tuple[CorpusFile, Member]]:
    """Members of the files that claim the role by name, or else of those whose content fits."""
    files = [(path, path.relative_to(folder).as_posix()) for path in _candidates(folder, suffixes)]
    claiming = [(path, shown) for path, shown in files if role.hint.search(shown)]
    taken = list(_members(claiming, suffixes))
    if not taken:
        taken = [(file, member) for file, member in _members(files, suffixes) if role.holds(member)]
    return taken if role.meant is None or len(taken) < 2 else [_the_one(role.meant, taken, folder)]


def _the_one(meant: re.Pattern[str], taken: list[tuple[CorpusFile, Member]], folder: Path) -> tuple[CorpusFile, Member]:
    named = [(file, member) for file, member in taken if meant.search(member.name.rpartition("/")[2])]
    if len(named) != 1:
        shown = ", ".join(f"{file.shown}{_inside(file, member)}" for file, member in taken)
        raise UsageError(f"{folder}: each of {shown} could be the same corpus; keep one of them")
    return named[0]


def _members(files: Iterable[tuple[Path, str]], suffixes: tuple[str, ...]) -> Iterator[tuple[CorpusFile, Member]]:
    for path, shown in files:
        file = read_file(path, shown)
        yield from ((file, member) for member in file.members if _is_candidate(member.name, suffixes))


def _candidates(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files in a fixed order, without hidden files and folders."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _is_candidate(plain_name(name), suffixes) or name.lower().endswith(_ARCHIVES):
                yield Path(root, name)


def _is_candidate(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file, or a member of an archive, may be a corpus: nothing hidden, nor in a hidden folder."""
    base = name.rpartition("/")[2]
    hidden = any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
    return base.lower().endswith(suffixes) and not hidden and not _NOT_A_CORPUS.search(base)


def _inside(file: CorpusFile, member: Member) -> str:
    return "" if len(file.members) == 1 else f" ({member.name})"


def _use(role: str, files: tuple[CorpusFile, ...]) -> CorpusUse:
    """Several files are each named with their hash, and the role's hash is that of the list."""
    if len(files) == 1:
        return CorpusUse(role, files[0].path.name, files[0].sha256, files[0].shown)
    listed = [f"{file.shown} sha256:{file.sha256}" for file in files]
    names = ", ".join(file.path.name for file in files[:8])
    more = f" and {len(files) - 8} more" if len(files) > 8 else ""
    sha256 = hashlib.sha256("".join(f"{line}\n" for line in listed).encode()).hexdigest()
    return CorpusUse(role, names + more, sha256, "; ".join(listed))


def _head(member: Member) -> bytes:
    return member.data[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")


def _is_squad(member: Member) -> bool:
    head = _head(member)
    return head.startswith(b"{") and b'"paragraphs"' in head and b'"qas"' in head


def _is_hotpotqa(member: Member) -> bool:
    head = _head(member)
    return head.startswith(b"[") and b'"supporting_facts"' in head and b'"context"' in head


def _is_essays_json(member: Member) -> bool:
    return re.match(rb'\{\s*"text"\s*:\s*"', _head(member)) is not None


def _is_novel(member: Member) -> bool:
    return is_prose(member.data.decode("utf-8", errors="replace"))


_ROLES = {
    "essays_json": _Role(
        re.compile(r"(?:essay|paulgraham)[^/]*\.json", re.IGNORECASE), _is_essays_json, re.compile(r"(?i)paulgraham")
    ),
    "novels": _Role(re.compile(r"gutenberg|essay|novel|haystack|paulgraham", re.IGNORECASE), _is_novel),
    "squad": _Role(re.compile(r"squad|dev-v2\.0", re.IGNORECASE), _is_squad, re.compile(r"(?i)dev.*v?2")),
    "hotpotqa": _Role(re.compile(r"hotpot", re.IGNORECASE), _is_hotpotqa, re.compile(r"(?i)dev_distractor")),
}
