"""Files: atomic replacement, whole-line appends, locks, and errors that name the file."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from evalkit.errors import UsageError

PARTS = ".*.part"
"""Glob of the temporary files that killed processes leave."""


def plain_name(text: str) -> str:
    """`text` as a part of a file's name: letters, digits and dots, with hyphens for everything else; may be empty."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


@contextlib.contextmanager
def writing(name: object, remedy: str = "") -> Iterator[None]:
    """Turn an OSError within the block into a UsageError that says that `name` cannot be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{name} cannot be written: {error.strerror}{'; ' * bool(remedy)}{remedy}") from None


@contextlib.contextmanager
def reading(name: object, remedy: str = "") -> Iterator[None]:
    """Within the block, an OSError or UnicodeDecodeError becomes a UsageError: `name` cannot be read."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{name} cannot be read: {reason}{'; ' * bool(remedy)}{remedy}") from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that takes the place of `path` when the block ends, and is removed if the block raises.

    Readers see the old file or the new one, never a part of either. Raises OSError if the folder cannot be written.
    """
    # atomicwrites, which did this, is no longer maintained.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def append_whole(descriptor: int, line: bytes) -> None:
    """Append `line` to a file opened with O_APPEND; a part that was written before an OSError is removed."""
    offset = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, line)
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, offset)
        raise
