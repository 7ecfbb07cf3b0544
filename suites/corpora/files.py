"""Plain and compressed corpus files; the format is detected from the first bytes, not from the name.

pooch unpacks by a file's name, onto the disk and without a limit to the size.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evalkit.errors import UsageError

# A corpus is tens of megabytes; a larger file is something else, or made to exhaust the memory.
MAX_BYTES = 1 << 30

_GZIP, _XZ, _BZIP2 = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh"
_ZIP = b"PK\x03\x04"
_TAR, _TAR_OFFSET = b"ustar", 257
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile, RuntimeError)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """One text in a file: the file itself if it is plain, else a file it unpacks to."""

    name: str
    """File name without the suffixes of compression, or the path inside an archive."""
    data: bytes


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A file that was read."""

    path: Path
    shown: str
    """Name in messages and records."""
    sha256: str
    """sha256 of the file on disk."""
    members: tuple[Member, ...]


def read_file(path: Path, shown: str | None = None) -> CorpusFile:
    """Read and unpack a file. Raises UsageError if it cannot be read, is damaged, or unpacks to more than 1 GiB."""
    shown = shown or path.name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: larger than {MAX_BYTES:,} bytes, so it is none of the corpora; remove it")
        content = path.read_bytes()
        return CorpusFile(path, shown, hashlib.sha256(content).hexdigest(), tuple(_unpack(path.name, content)))
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise UsageError(f"{path}: cannot be read ({reason}); replace the file or remove it") from None


def plain_name(name: str) -> str:
    """The name without suffixes of compression."""
    for suffix in (".gz", ".xz", ".bz2"):
        name = name.removesuffix(suffix)
    return name.removesuffix(".tar").removesuffix(".tgz")


def _unpack(name: str, content: bytes) -> Iterator[Member]:
    content = _decompressed(content)
    if content.startswith(_ZIP):
        yield from _unzip(content)
    elif content[_TAR_OFFSET : _TAR_OFFSET + len(_TAR)] == _TAR:
        yield from _untar(content)
    else:
        yield Member(plain_name(name), content)


def _decompressed(content: bytes) -> bytes:
    if content.startswith(_GZIP):
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as gzipped:
            return _bounded(gzipped)
    if content.startswith(_XZ):
        with lzma.LZMAFile(io.BytesIO(content)) as xz:
            return _bounded(xz)
    if content.startswith(_BZIP2):
        with bz2.BZ2File(io.BytesIO(content)) as bzip2:
            return _bounded(bzip2)
    return content


def _unzip(content: bytes) -> Iterator[Member]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            if not entry.is_dir():
                with archive.open(entry) as stream:
                    yield from _unpack(entry.filename, _bounded(stream))


def _untar(content: bytes) -> Iterator[Member]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in sorted(archive.getmembers(), key=lambda entry: entry.name):
            stream = archive.extractfile(entry) if entry.isfile() else None
            if stream is not None:
                yield from _unpack(entry.name, _bounded(stream))


def _bounded(stream: _Readable) -> bytes:
    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(f"unpacks to more than {MAX_BYTES:,} bytes")
    return content
