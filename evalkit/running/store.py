"""A run's folder: runs/<id>/ with manifest.json, samples.jsonl and, at the end, run.json and report.md.

samples.jsonl is appended to and flushed as samples end, so a run killed at any moment loses at most what was
in flight. manifest.json says what the samples were made with, so that a folder is never continued by another
model, tokenizer, dtype, dialect, corpus or seed. run.json and report.md exist only while they say what samples.jsonl
says: the first sample that is added to a finished run removes them.
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evalkit import files
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import SCHEMA, CorpusUse, ModelIdentity, RunRecord, SampleRecord
from evalkit.records.codec import RecordError, from_dict, from_json, parse_json, to_json

MANIFEST = "manifest.json"
SAMPLES = "samples.jsonl"
RUN = "run.json"
REPORT = "report.md"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What every sample of a run must share."""

    suite: str
    suite_version: str
    dialect: str
    seed: int
    model: str
    """The model as the user named it; only `fingerprint` decides whether it is the same one."""
    fingerprint: str
    tokenizer: str
    dtype: str
    positions: str
    corpora: dict[str, str]
    """Role -> sha256."""

    @staticmethod
    def of(
        *,
        suite: str,
        version: str,
        dialect: str,
        seed: int,
        identity: ModelIdentity,
        corpora: Iterable[CorpusUse],
    ) -> "Manifest":
        return Manifest(
            suite=suite,
            suite_version=version,
            dialect=dialect,
            seed=seed,
            model=identity.path,
            fingerprint=identity.fingerprint,
            tokenizer=identity.tokenizer,
            dtype=identity.dtype,
            positions=identity.positions.description,
            corpora={f"{corpus.role}:{corpus.name}": corpus.sha256 for corpus in corpora},
        )

    def differences(self, other: "Manifest") -> list[str]:
        """`field: here -> there` for every field that must agree and does not."""
        here, there = asdict(self), asdict(other)
        del here["model"], there["model"]
        return [f"{name}: {_short(here[name])} -> {_short(there[name])}" for name in here if here[name] != there[name]]


class RunStore:
    """The folder of one run, open for appending; use as a context manager."""

    def __init__(self, folder: Path, records: dict[str, SampleRecord], lock: int) -> None:
        self.folder = folder
        self.records = records
        """Sample id -> record, for every sample that needs no repetition."""
        self._lock = lock
        self._samples = os.open(folder / SAMPLES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._changed = False

    @staticmethod
    def open(folder: Path, manifest: Manifest, *, resume: bool) -> "RunStore":
        """Open `folder` for `manifest`, creating it where needed.

        With `resume`, samples that ended are kept, those that errored are dropped to be tried again, and a
        half-written last line is cut off; an empty or missing folder starts afresh. Raises UsageError for a
        folder that cannot be written, is in use, or holds a run and `resume` is off, and
        IncompatibleRunError for one made with something else.
        """
        lock = _lock_folder(folder)
        try:
            return RunStore(folder, _claim(folder, manifest, resume=resume), lock)
        except OSError as error:
            os.close(lock)
            raise _cannot_write(folder, error) from None
        except BaseException:
            os.close(lock)
            raise

    def append(self, record: SampleRecord) -> None:
        """Write one record and flush it to the operating system.

        Raises UsageError where it cannot be written (a full disk); the lines before it stay whole.
        """
        line = (to_json(record) + "\n").encode()
        offset = os.fstat(self._samples).st_size
        try:
            if not self._changed:
                _remove_results(self.folder)
                self._changed = True
            written = os.write(self._samples, line)
            while written < len(line):
                written += os.write(self._samples, line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # what stays of the line is cut off on --resume
                os.ftruncate(self._samples, offset)
            raise UsageError(
                f"cannot write {self.folder / SAMPLES}: {error.strerror}; the {len(self.records)} samples before it "
                "are safe, free some space and continue with --resume"
            ) from None
        self.records[record.id] = record

    def finished(self) -> RunRecord | None:
        """The record that run.json holds of exactly the samples here; None where the run has not finished."""
        return read_run(self.folder) if (self.folder / RUN).exists() else None

    def finish(self, record: RunRecord, report: str) -> None:
        """Write run.json and report.md, each whole or not at all."""
        try:
            _write_atomically(self.folder / RUN, to_json(record, indent=2) + "\n")
            _write_atomically(self.folder / REPORT, report)
        except OSError as error:
            raise UsageError(
                f"cannot write {self.folder / RUN}: {error.strerror}; all samples are safe, "
                "free some space and run again with --resume"
            ) from None

    def close(self) -> None:
        os.close(self._samples)
        os.close(self._lock)

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_run(path: Path) -> RunRecord:
    """The record of a finished run, given its folder or its run.json.

    Raises UsageError naming the file where it is missing, cannot be read or is not a run record of this schema.
    """
    folder, file = (path, path / RUN) if os.path.isdir(path) else (path.parent, path)
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        unfinished = os.path.exists(folder / SAMPLES)
        hint = "the run has not finished, continue it with --resume" if unfinished else "not a run folder"
        raise UsageError(f"{file} does not exist: {hint}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    try:
        return from_dict(RunRecord, _of_known_schema(text))
    except RecordError as error:
        raise UsageError(f"{file} is not a run record: {error}") from None


def read_samples(folder: Path) -> list[SampleRecord]:
    """All whole lines of samples.jsonl; UsageError names file and line of a malformed one."""
    try:
        records, _ = _parse_samples(folder / SAMPLES)
    except OSError as error:
        raise UsageError(f"{folder / SAMPLES} cannot be read: {error.strerror}") from None
    return records


def check_out(folder: Path, *, resume: bool) -> None:
    """Raise the UsageError that RunStore.open would, where it can be known before a model is loaded."""
    if os.path.exists(folder / MANIFEST) and not resume:
        raise _holds_a_run(folder)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not os.path.isdir(existing):
        raise _cannot_write(folder, NotADirectoryError(errno.ENOTDIR, f"{existing} is not a folder"))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _cannot_write(folder, PermissionError(errno.EACCES, f"no permission to write to {existing}"))


def numbered_folder(root: Path, name: str, *, resume: bool) -> Path:
    """The folder for a run called `name`: the newest one with `resume`, else the first free of name, name-2, …"""
    newest, number = root / name, 1
    while (root / name if number == 1 else root / f"{name}-{number}").exists():
        newest = root / name if number == 1 else root / f"{name}-{number}"
        number += 1
    if resume or number == 1:
        return newest
    return root / f"{name}-{number}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
    return text if len(text) <= 160 else text[:157] + "…"


def _cannot_write(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out")


def _holds_a_run(folder: Path) -> UsageError:
    return UsageError(f"{folder} already holds a run; pass --resume to continue it or another --out")


def _of_known_schema(text: str) -> Any:
    data = parse_json(text)
    if isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA:
        raise RecordError(f"its schema is {_short(data['schema'])}, this evalkit reads {SCHEMA}")
    return data


def _lock_folder(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    try:
        return files.open_locked(folder / LOCK, wait=False)
    except BlockingIOError:
        raise UsageError(f"{folder} is in use by another process; wait for it or choose another --out") from None
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _claim(folder: Path, manifest: Manifest, *, resume: bool) -> dict[str, SampleRecord]:
    """Make `folder` the place of `manifest`'s run, and return the samples that it has already."""
    if (folder / MANIFEST).exists():
        if not resume:
            raise _holds_a_run(folder)
        _check_manifest(folder, manifest)
        return _load_for_resume(folder)
    if (folder / SAMPLES).exists() and (folder / SAMPLES).stat().st_size > 0:
        raise UsageError(f"{folder} has samples but no {MANIFEST}, so it cannot be continued; use another --out")
    _write_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")
    return {}


def _check_manifest(folder: Path, manifest: Manifest) -> None:
    try:
        made_with = from_json(Manifest, (folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{folder / MANIFEST} cannot be read ({error}); use another --out") from None
    differences = made_with.differences(manifest)
    if differences:
        raise IncompatibleRunError(
            f"{folder} was made with something else ({'; '.join(differences)}); use another --out"
        )


def _load_for_resume(folder: Path) -> dict[str, SampleRecord]:
    path = folder / SAMPLES
    records, whole_bytes = _parse_samples(path)
    if path.exists() and path.stat().st_size > whole_bytes:
        os.truncate(path, whole_bytes)
    kept = {record.id: record for record in records if record.error is None}
    if len(kept) < len(records):
        _remove_results(folder)
        _write_atomically(path, "".join(to_json(record) + "\n" for record in kept.values()))
    return kept


def _remove_results(folder: Path) -> None:
    for name in (RUN, REPORT):
        (folder / name).unlink(missing_ok=True)


def _parse_samples(path: Path) -> tuple[list[SampleRecord], int]:
    """Records of all whole lines, and how many bytes those lines take.

    Only the last line can be half-written, because lines are appended one after another.
    """
    if not path.exists():
        return [], 0
    records: list[SampleRecord] = []
    whole_bytes = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                records.append(from_json(SampleRecord, line.decode()))
            except (RecordError, UnicodeDecodeError) as error:
                raise UsageError(f"{path}:{number} is not a sample record: {error}") from None
            whole_bytes += len(line)
    return records, whole_bytes


def _write_atomically(path: Path, text: str) -> None:
    with files.replacing(path) as file:
        file.write(text.encode("utf-8"))
