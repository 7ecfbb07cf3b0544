"""The folder of a run, which holds its complete state at any time.

manifest.json states what all samples share, so that a folder is never continued by another model, tokenizer, dtype,
engine, dialect, corpus or seed. started.json holds the request of the latest command, and sessions.json the processes
that worked on the run. samples.jsonl is appended to and flushed as samples end, so a killed run loses at most the
samples in flight. run.json and report.md exist only while they agree with samples.jsonl: the first sample that is
added to a finished run removes them.
"""

import errno
import os
import re
from pathlib import Path

from evalkit import files
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import Manifest, RunRecord, RunStart, SampleRecord, Session, SessionList
from evalkit.records.codec import to_json
from evalkit.records.migration import SESSIONS_SCHEMA
from evalkit.running.folder_lock import LOCK, FolderLock, cannot_write, refuse_locked
from evalkit.running.run_files import (
    MANIFEST,
    REPORT,
    RUN,
    SAMPLES,
    SESSIONS,
    STARTED,
    parse_samples,
    read_manifest,
    read_run,
    read_samples,
    read_sessions,
)

__all__ = [
    "LOCK",
    "MANIFEST",
    "REPORT",
    "RUN",
    "SAMPLES",
    "SESSIONS",
    "STARTED",
    "Manifest",
    "RunStore",
    "check_out",
    "numbered_folder",
    "read_run",
    "read_samples",
]


class RunStore:
    """The folder of one run, open for appending; use as a context manager."""

    def __init__(self, lock: FolderLock, manifest: Manifest, *, resume: bool) -> None:
        """Raises as `open`."""
        self.folder = lock.folder
        self.notes: tuple[str, ...] = ()
        """Notes on how the run was continued."""
        self._lock = lock
        self._manifest = self._claim(manifest, resume=resume)
        self.sessions = _earlier_sessions(self.folder) if resume else ()
        """The processes that worked on the run; this one is last once it has started."""
        listed, self._whole_bytes = parse_samples(self.folder / SAMPLES)
        self.done = dict.fromkeys(record.id for record in listed if record.error is None)
        """Ids of all samples that are done. Their records are on the disk only: a run may have very many."""
        self._drops = len(listed) - len(self.done)
        self._samples: int | None = None
        """Opened with the first added sample, before which nothing in the folder of a finished run changes."""

    @staticmethod
    def open(folder: Path, manifest: Manifest, *, resume: bool, lock: FolderLock | None = None) -> "RunStore":
        """Open `folder` for `manifest`, creating it if needed; `lock` is that of the folder if it was taken before.

        With `resume`, samples that ended are kept, those that errored are to be tried again, and a half-written last
        line is cut off; an empty or missing folder starts afresh. Raises UsageError for a folder that cannot be
        written, is in use, or holds a run and `resume` is off, and IncompatibleRunError for one made with something
        else.
        """
        held = lock or FolderLock(folder)
        try:
            return RunStore(held, manifest, resume=resume)
        except OSError as error:
            held.release()
            raise cannot_write(folder, error) from None
        except BaseException:
            held.release()
            raise

    @property
    def records(self) -> dict[str, SampleRecord]:
        """Sample id -> record, for every sample that is done, read from the disk."""
        listed, _ = parse_samples(self.folder / SAMPLES)
        return {record.id: record for record in listed if record.id in self.done}

    def begin(self, start: RunStart) -> None:
        """Store the request of this command: started.json, and its additional corpora in the manifest."""
        self._write(MANIFEST, to_json(self._manifest, indent=2) + "\n")
        self._write(STARTED, to_json(start, indent=2) + "\n")

    def record_session(self, session: Session) -> None:
        """Write sessions.json with `session`, which replaces the one of the same number or is appended."""
        earlier = tuple(one for one in self.sessions if one.number != session.number)
        listed = (*earlier, session)
        self._write(SESSIONS, to_json(SessionList(SESSIONS_SCHEMA, listed), indent=2) + "\n")
        self.sessions = listed

    def append(self, record: SampleRecord) -> None:
        """Write one record and flush it to the operating system.

        Raises UsageError if it cannot be written (a full disk); the lines before it stay whole.
        """
        line = (to_json(record) + "\n").encode()
        try:
            self._samples = self._open_samples() if self._samples is None else self._samples
            files.append_whole(self._samples, line)
        except OSError as error:
            raise self._full(SAMPLES, error) from None
        self.done[record.id] = None

    def finish(self, record: RunRecord) -> None:
        """Write run.json, whole or not at all."""
        self._write(RUN, to_json(record, indent=2) + "\n")

    def write_report(self, report: str) -> None:
        """Write report.md, whole or not at all; OSError if it cannot be written."""
        _replace(self.folder / REPORT, report)

    def close(self) -> None:
        if self._samples is not None:
            os.close(self._samples)
            self._samples = None
        self._lock.release()

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _claim(self, manifest: Manifest, *, resume: bool) -> Manifest:
        """Claim the folder for the run of `manifest`, and return the manifest of all its samples."""
        for part in self.folder.glob(files.PARTS):
            part.unlink()
        if not (self.folder / MANIFEST).exists():
            samples = self.folder / SAMPLES
            if samples.exists() and samples.stat().st_size > 0:
                raise UsageError(
                    f"{self.folder} has samples but no {MANIFEST}, so it cannot be continued; use another --out"
                )
            _replace(self.folder / MANIFEST, to_json(manifest, indent=2) + "\n")
            return manifest
        if not resume:
            raise _holds_a_run(self.folder)
        made_with = read_manifest(self.folder)
        if differences := made_with.differences(manifest):
            raise IncompatibleRunError(
                f"{self.folder} was made with other settings ({'; '.join(differences)}); use another --out"
            )
        if unknown := made_with.unknown_beside(manifest):
            self.notes = (
                "the run was begun by a version of evalkit that did not record "
                f"{', '.join(name.replace('_', ' ') for name in unknown)}: not compared with this command's",
            )
        return made_with.extended(manifest)

    def _open_samples(self) -> int:
        """Cut samples.jsonl to the whole lines that are kept, and remove the record and report of others."""
        path = self.folder / SAMPLES
        for name in (RUN, REPORT):
            (self.folder / name).unlink(missing_ok=True)
        if self._drops:
            _replace(path, "".join(to_json(record) + "\n" for record in self.records.values()))
        elif path.exists() and path.stat().st_size > self._whole_bytes:
            os.truncate(path, self._whole_bytes)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _write(self, name: str, text: str) -> None:
        try:
            _replace(self.folder / name, text)
        except OSError as error:
            raise self._full(name, error) from None

    def _full(self, name: str, error: OSError) -> UsageError:
        return UsageError(
            f"cannot write {self.folder / name}: {error.strerror}; all samples stored so far are safe, "
            "free some space and continue with --resume"
        )


def check_out(folder: Path, *, resume: bool) -> None:
    """Raise the UsageError of RunStore.open that can be known before a model is loaded."""
    refuse_locked(folder)
    if os.path.exists(folder / MANIFEST) and not resume:
        raise _holds_a_run(folder)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not os.path.isdir(existing):
        raise cannot_write(folder, NotADirectoryError(errno.ENOTDIR, f"{existing} is not a folder"))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise cannot_write(folder, PermissionError(errno.EACCES, f"no permission to write to {existing}"))


def numbered_folder(root: Path, name: str, *, resume: bool) -> Path:
    """The folder for a run called `name`, among name, name-2, …: the newest with `resume`, else the next."""
    numbered = re.compile(re.escape(name) + r"(?:-([1-9]\d{0,8}))?")
    matches = [numbered.fullmatch(entry) for entry in (os.listdir(root) if root.is_dir() else ())]
    newest = max((int(match[1] or 1) for match in matches if match), default=0)
    number = newest if resume and newest else newest + 1
    return root / (name if number == 1 else f"{name}-{number}")


def _holds_a_run(folder: Path) -> UsageError:
    return UsageError(f"{folder} already holds a run; pass --resume to continue it or another --out")


def _earlier_sessions(folder: Path) -> tuple[Session, ...]:
    """The sessions so far; for versions that did not record them, one session with what the record states."""
    if (folder / SESSIONS).exists():
        return read_sessions(folder)
    if (folder / RUN).exists():
        return read_run(folder).sessions
    if (folder / SAMPLES).exists() and (folder / SAMPLES).stat().st_size > 0:
        return (Session(number=0, started_at=None),)
    return ()


def _replace(path: Path, text: str) -> None:
    with files.replacing(path) as file:
        file.write(text.encode("utf-8"))
