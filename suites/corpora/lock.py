"""What is in the cache and which sha256 each file must have: corpora/lock.json."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evalkit.cache import CACHE_VARIABLE, cache_folder
from evalkit.errors import UsageError
from evalkit.records.codec import RecordError, from_dict, to_dict

LOCK = "lock.json"
LEFTOVER_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Entry:
    """One fetched file."""

    file: str
    sha256: str
    bytes: int
    url: str
    pinned: bool
    """Whether the sha256 was known before the download; else it is the one of the first download."""


def corpora_folder() -> Path:
    """Where fetched corpora lie; it may not exist yet."""
    return cache_folder() / "corpora"


def read_lock() -> dict[str, Entry]:
    """Entries by role, empty where nothing was fetched; UsageError for a lock file that is not one."""
    path = corpora_folder() / LOCK
    try:
        tree = json.loads(path.read_bytes())
        return {str(role): from_dict(Entry, entry) for role, entry in tree.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError, RecordError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); remove it and run `evalkit data fetch`") from None


def write_entry(role: str, entry: Entry) -> None:
    """Add or replace one role's entry, atomically."""
    entries = read_lock() | {role: entry}
    text = json.dumps({name: to_dict(entries[name]) for name in sorted(entries)}, indent=2)
    with replacing(corpora_folder() / LOCK) as file:
        file.write(f"{text}\n".encode())


def remove_leftovers() -> None:
    """Remove what downloads that were killed an hour ago or more have left."""
    for part in corpora_folder().glob(".*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                part.unlink()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when the block ends well, and is removed when it does not.

    Raises UsageError where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise _cannot_write(path.parent, error) from None
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise _cannot_write(path.parent, error) from None
    finally:
        part.unlink(missing_ok=True)


def _cannot_write(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{folder}: cannot be written ({error.strerror}); set {CACHE_VARIABLE} to a folder that can be")
