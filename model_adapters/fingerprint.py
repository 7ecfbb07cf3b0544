"""Fingerprint of a checkpoint: a sha256 that does not depend on its location."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evalkit import files
from evalkit.cache import cache_folder
from evalkit.errors import UsageError

# Seconds in which a file may change again without a new modification time.
SETTLED_SECONDS = 2.0
SMALL_BYTES = 1 << 20
READERS = 8
"""Number of files that are read at the same time."""


def fingerprint(files: Iterable[Path]) -> str:
    """`sha256:<hex>` over the names and contents of `files`, independent of their order and folder.

    Checksums of large files are kept in the cache folder, so that a checkpoint is read once for this, its files at the
    same time: one core hashes about 1 GB/s. Raises UsageError for a file that cannot be read.
    """
    named = list(files)
    with ThreadPoolExecutor(READERS) as readers:
        digests = list(readers.map(file_sha256, named))
    lines = sorted(f"{file.name} {digest}\n" for file, digest in zip(named, digests, strict=True))
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def file_sha256(file: Path) -> str:
    """The sha256 of a file in hex, from the cache if path, size and times are unchanged."""
    try:
        before = file.stat()
        kept = None if before.st_size < SMALL_BYTES else _cache_entry(file, before)
        if kept is not None and (known := _read(kept)):
            return known
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        after = file.stat()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
    settled = time.time() - after.st_mtime > SETTLED_SECONDS
    if kept is not None and settled and _times(before) == _times(after):
        _write(kept, digest)
    return digest


def _times(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _cache_entry(file: Path, stat: os.stat_result) -> Path:
    key = repr((str(file.resolve()), *_times(stat)))
    return cache_folder() / "sha256" / hashlib.sha256(key.encode()).hexdigest()


def _read(entry: Path) -> str | None:
    try:
        text = entry.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if len(text) == 64 and set(text) <= set("0123456789abcdef") else None


def _write(entry: Path, digest: str) -> None:
    # A cache that cannot be written only costs time at the next start.
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(entry) as file:
            file.write(digest.encode("ascii"))
