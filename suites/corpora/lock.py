"""The index of the cache, corpora/lock.json: its files and the sha256 of each."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from evalkit import files
from evalkit.cache import CACHE_VARIABLE, cache_folder
from evalkit.errors import UsageError
from evalkit.records.codec import from_dict, parse_json, to_dict
from suites.corpora.download import LEFTOVERS

LOCK = "lock.json"
MUTEX = ".lock"
"""Lock file that a process holds while it changes lock.json."""
LEFTOVER_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Entry:
    """One fetched file."""

    file: str
    sha256: str
    bytes: int
    url: str
    pinned: bool
    """Whether the sha256 was known before the download; otherwise it is that of the first download."""


def corpora_folder() -> Path:
    """Folder of fetched corpora, which may not exist yet."""
    return cache_folder() / "corpora"


def read_lock() -> dict[str, Entry]:
    """Entries by role, empty if nothing was fetched; UsageError if lock.json is malformed."""
    path = corpora_folder() / LOCK
    try:
        tree = parse_json(path.read_bytes())
        return {str(role): from_dict(Entry, entry) for role, entry in tree.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); remove it and run `evalkit data fetch`") from None


def write_entry(role: str, entry: Entry) -> None:
    """Add or replace one role's entry, atomically; entries that another process writes at the same time stay.

    Raises UsageError if the folder cannot be written.
    """
    folder = corpora_folder()
    with writing(folder), FileLock(folder / MUTEX):
        entries = read_lock() | {role: entry}
        text = json.dumps({name: to_dict(entries[name]) for name in sorted(entries)}, indent=2)
        with files.replacing(folder / LOCK) as file:
            file.write(f"{text}\n".encode())


def remove_leftovers() -> None:
    """Remove temporary files of downloads that were killed at least an hour ago."""
    folder = corpora_folder()
    for part in (*folder.glob(files.PARTS), *folder.glob(LEFTOVERS)):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                part.unlink()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Create `folder` if needed; UsageError if it, or a file in it during the block, cannot be written."""
    with files.writing(folder, f"set {CACHE_VARIABLE} to a folder that can be"):
        folder.mkdir(parents=True, exist_ok=True)
        yield
