"""Reading the files of a run's folder; errors name the file and the fault."""

import os
from pathlib import Path
from typing import TypeVar

from evalkit.errors import UsageError
from evalkit.files import reading
from evalkit.records import Manifest, RunRecord, RunStart, SampleRecord, Session, SessionList
from evalkit.records.codec import RecordError
from evalkit.records.migration import NewerRecordError, read_record

MANIFEST = "manifest.json"
STARTED = "started.json"
SESSIONS = "sessions.json"
SAMPLES = "samples.jsonl"
RUN = "run.json"
REPORT = "report.md"

T = TypeVar("T")


def read_run(path: Path) -> RunRecord:
    """Read the record of a finished run, given its folder or its run.json.

    Raises UsageError naming the file if it is missing, cannot be read or is not a run record of a known schema.
    """
    folder, file = (path, path / RUN) if os.path.isdir(path) else (path.parent, path)
    if not os.path.lexists(file):
        hint = f"the run has not finished{_progress(folder)}, continue it with --resume"
        raise UsageError(f"{file} does not exist: {hint if is_begun(folder) else 'not a run folder'}")
    return _read(RunRecord, file, "is not a run record")


def read_manifest(folder: Path) -> Manifest:
    """Raises UsageError as `read_run`, also if there is none."""
    return _read(Manifest, folder / MANIFEST, "cannot be read")


def read_start(folder: Path) -> RunStart:
    """Read what was stored about a run before its first sample.

    Raises UsageError as `read_run`, also if an earlier version of evalkit began the run and wrote no such file.
    """
    if not (folder / STARTED).exists():
        raise UsageError(
            f"{folder} has not finished and has no {STARTED}, because an earlier version of evalkit began it; "
            "continue it with --resume"
        )
    return _read(RunStart, folder / STARTED, "cannot be read")


def read_sessions(folder: Path) -> tuple[Session, ...]:
    """Sessions in their order, none if none was recorded; raises UsageError as `read_run`."""
    if not (folder / SESSIONS).exists():
        return ()
    return _read(SessionList, folder / SESSIONS, "cannot be read").sessions


def read_samples(folder: Path) -> list[SampleRecord]:
    """All whole lines of samples.jsonl; UsageError names file and line of a malformed one."""
    with reading(folder / SAMPLES):
        records, _ = parse_samples(folder / SAMPLES)
    return records


def parse_samples(path: Path) -> tuple[list[SampleRecord], int]:
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
                records.append(read_record(SampleRecord, line.decode()))
            except (RecordError, UnicodeDecodeError) as error:
                raise UsageError(f"{path}:{number} is not a sample record: {error}") from None
            whole_bytes += len(line)
    return records, whole_bytes


def is_begun(folder: Path) -> bool:
    """Whether a run has started in the folder."""
    return any(os.path.lexists(folder / name) for name in (SAMPLES, STARTED))


def count_samples(folder: Path) -> int:
    """Number of whole lines of samples.jsonl, 0 without the file; raises UsageError if it cannot be read."""
    if not (folder / SAMPLES).exists():
        return 0
    with reading(folder / SAMPLES), (folder / SAMPLES).open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _progress(folder: Path) -> str:
    """Progress such as ` (12 of 40 samples)`, if the files state it."""
    try:
        return f" ({count_samples(folder):,} of {read_start(folder).planned:,} samples)"
    except UsageError:
        return ""


def _read(cls: type[T], file: Path, complaint: str) -> T:
    try:
        return read_record(cls, file.read_text(encoding="utf-8"))
    except NewerRecordError as error:
        raise UsageError(f"{file} {error}") from None
    except RecordError as error:
        raise UsageError(f"{file} {complaint}: {error}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
