"""Download of the public corpora into the cache, and checks of the cache."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalkit import files
from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from suites.corpora.download import DownloadError, download
from suites.corpora.graham import Report, gather_essays
from suites.corpora.lock import LOCK, Entry, corpora_folder, read_lock, remove_leftovers, write_entry, writing
from suites.corpora.sources import ROLES, SOURCES, Source

State = Literal["ok", "corrupt", "absent"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file in the cache after a fetch."""

    role: str
    path: Path
    bytes: int
    sha256: str
    pinned: bool
    kept: bool
    """True if an intact file was there already, and nothing was downloaded."""


@dataclass(frozen=True, slots=True)
class Verified:
    """One role's file in the cache."""

    role: str
    path: Path
    state: State


def fetch(
    roles: Sequence[str] | None = None, report: Report = lambda _line: None, *, progress: bool = False
) -> tuple[Fetched, ...]:
    """Download the files of the roles (all by default) into the cache; intact files are kept.

    `report` gets a line before each download, and `progress` shows a bar on stderr during it.

    Raises UsageError for an unknown role, and after all roles were tried one that names every failed role with its
    reason; no partial file is left.
    """
    wanted = ROLES if roles is None else tuple(roles)
    check_known("corpus", wanted, ROLES)
    remove_leftovers()
    rows, failures = [], []
    for role in wanted:
        try:
            rows.append(_fetch(SOURCES[role], report, progress))
        except DownloadError as error:
            failures.append(f"{role}: {error}")
    if failures:
        raise UsageError(
            f"not fetched: {'; '.join(failures)}; check the network, or set EVALKIT_DATA to a folder with the files"
        )
    return tuple(rows)


def verify() -> tuple[Verified, ...]:
    """The state of every role's file in the cache, by its sha256."""
    lock = read_lock()
    return tuple(_verify(role, lock.get(role)) for role in ROLES)


def _verify(role: str, entry: Entry | None) -> Verified:
    path = corpora_folder() / (entry.file if entry else SOURCES[role].file)
    if not path.is_file():
        return Verified(role, path, "absent")
    return Verified(role, path, "ok" if entry and _sha256_of(path) == entry.sha256 else "corrupt")


def _fetch(source: Source, report: Report, progress: bool) -> Fetched:
    entry = read_lock().get(source.role)
    path = corpora_folder() / source.file
    if entry is not None and entry.file == source.file and path.is_file() and _sha256_of(path) == entry.sha256:
        return Fetched(source.role, path, entry.bytes, entry.sha256, entry.pinned, kept=True)
    new = _gather(source, entry, report) if source.page_list else _download(source, report, progress)
    write_entry(source.role, new)
    return Fetched(source.role, path, new.bytes, new.sha256, new.pinned, kept=False)


def _download(source: Source, report: Report, progress: bool) -> Entry:
    """The first place of the source that has the published file."""
    reasons = []
    for place in source.downloads:
        report(f"{source.role}: {place.bytes:,} bytes from {place.url}")
        path = corpora_folder() / source.file
        try:
            with writing(path.parent):
                download(place.url, path, place.sha256, progress=progress)
        except DownloadError as error:
            reasons.append(str(error))
        else:
            return Entry(source.file, place.sha256, path.stat().st_size, place.url, pinned=True)
    raise DownloadError("; ".join(reasons))


def _gather(source: Source, recorded: Entry | None, report: Report) -> Entry:
    """A text gathered from many pages; its sha256 is recorded the first time, and a different one is refused later."""
    assert source.page_list is not None  # the caller has looked
    content = json.dumps({"text": gather_essays(source, report)}).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    if recorded is not None and recorded.sha256 != sha256:
        raise DownloadError(
            f"the pages changed since they were first fetched (sha256 {sha256[:16]}…, was "
            f"{recorded.sha256[:16]}…); remove {corpora_folder() / LOCK} to accept the new ones"
        )
    path = corpora_folder() / source.file
    with writing(path.parent), files.replacing(path) as file:
        file.write(content)
    return Entry(source.file, sha256, len(content), source.page_list.url, pinned=False)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
