"""Fingerprint of a checkpoint: a sha256 that does not depend on its location."""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path

from evalkit import files
from evalkit.cache import cache_folder
from evalkit.errors import UsageError

# Seconds in which a file may change again without a new modification time.
SETTLED_SECONDS = 2.0
SMALL_BYTES = 1 << 20
READERS = 8
"""Number of files that are read at the same time."""
CHUNK_BYTES = 1 << 20


def fingerprint(files: Iterable[Path]) -> str:
    """`sha256:<hex>` over the names and contents of `files`, independent of their order and folder.

    Checksums of large files are kept in the cache folder, so that a checkpoint is read once for this, its files at the
    same time: one core hashes about 1 GB/s. Raises UsageError for a file that cannot be read.
    """
    with hashing(files) as found:
        return found()


@contextlib.contextmanager
def hashing(files: Iterable[Path]) -> Iterator[Callable[[], str]]:
    """Begin the fingerprint of `files` in threads; the block gets a function that waits for it and raises as above.

    A block that ends without it ends the reading too.
    """
    named, given_up = list(files), threading.Event()
    with ThreadPoolExecutor(READERS, thread_name_prefix="fingerprint") as readers:
        digests = [readers.submit(file_sha256, file, given_up) for file in named]

        def found() -> str:
            lines = sorted(f"{file.name} {digest.result()}\n" for file, digest in zip(named, digests, strict=True))
            return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"

        try:
            yield found
        finally:
            given_up.set()


def file_sha256(file: Path, given_up: threading.Event | None = None) -> str:
    """The sha256 of a file in hex, from the cache if path, size and times are unchanged.

    Raises CancelledError once `given_up` is set, and UsageError for a file that cannot be read.
    """
    try:
        before = file.stat()
        kept = None if before.st_size < SMALL_BYTES else _cache_entry(file, before)
        if kept is not None and (known := _read(kept)):
            return known
        with file.open("rb") as opened:
            digest = _sha256(opened, given_up or threading.Event())
        after = file.stat()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
    settled = time.time() - after.st_mtime > SETTLED_SECONDS
    if kept is not None and settled and _times(before) == _times(after):
        _write(kept, digest)
    return digest


def _sha256(opened: BufferedReader, given_up: threading.Event) -> str:
    digest, buffer = hashlib.sha256(), bytearray(CHUNK_BYTES)
    chunk = memoryview(buffer)
    while count := opened.readinto(buffer):
        if given_up.is_set():
            raise CancelledError
        digest.update(chunk[:count])
    return digest.hexdigest()


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
