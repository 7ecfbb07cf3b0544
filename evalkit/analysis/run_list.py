"""The runs in a folder, whatever their state, for a list of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalkit.analysis.finished_run import all_run_folders
from evalkit.errors import EvalkitError, UsageError
from evalkit.records import RunRecord, RunStart, Session
from evalkit.running.folder_lock import FolderInUseError, refuse_locked
from evalkit.running.run_files import RUN, count_samples, read_run, read_sessions, read_start

State = Literal["finished", "running", "stopped", "unreadable"]


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run folder as a list shows it; what its files do not state is None or empty."""

    folder: str
    state: State
    started_at: str | None = None
    """Start of the first session, UTC, as `2026-05-01T12:00:00Z`."""
    ended_at: str | None = None
    """End of the last session, UTC; None if the run is at work or was stopped."""
    model: str = ""
    suite: str = ""
    dialect: str = ""
    lengths: tuple[int, ...] = ()
    """Context lengths with a result."""
    mean: float | None = None
    """Mean score at the longest context, in points of 100."""
    samples: int = 0
    planned: int | None = None
    errors: int = 0
    reason: str = ""
    """Why the run is unreadable."""
    shard: str = ""
    """Which part of a run it is, such as `shard 3 of 8`; empty for a whole run."""


def list_runs(paths: Sequence[Path]) -> list[ListedRun]:
    """Every run in `paths`, at any depth, the newest first and those without a date last.

    Of a finished run only run.json is read. Raises UsageError for a path without any run.
    """
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise UsageError(f"{missing} does not exist; name the folder that holds the runs")
    folders = {os.path.realpath(folder): folder for path in paths for folder in all_run_folders(path)}
    runs = [_listed(folder if folder.is_dir() else folder.parent) for folder in folders.values()]
    runs.sort(key=lambda run: run.folder)
    return sorted(runs, key=lambda run: run.started_at or "", reverse=True)


def _listed(folder: Path) -> ListedRun:
    try:
        return _finished(folder, read_run(folder)) if (folder / RUN).exists() else _begun(folder, read_start(folder))
    except EvalkitError as error:
        return ListedRun(str(folder), "unreadable", reason=str(error))


def _finished(folder: Path, record: RunRecord) -> ListedRun:
    means = {row.ctx: row.mean for row in record.summary}
    return ListedRun(
        folder=str(folder),
        state="finished",
        started_at=_first_start(record.sessions),
        ended_at=record.sessions[-1].ended_at if record.sessions else None,
        model=record.model.name,
        suite=record.suite,
        dialect=record.dialect,
        lengths=tuple(sorted({row.ctx for row in record.results if row.ctx})),
        mean=means[max(means)] if means else None,
        samples=record.counts.n,
        planned=record.planned,
        errors=record.counts.errors,
        shard="" if record.shard is None else record.shard.label,
    )


def _begun(folder: Path, start: RunStart) -> ListedRun:
    return ListedRun(
        folder=str(folder),
        state="running" if _is_locked(folder) else "stopped",
        started_at=_first_start(read_sessions(folder)),
        model=start.model.name,
        suite=start.suite,
        dialect=start.dialect,
        samples=count_samples(folder),
        planned=start.planned,
        shard="" if start.shard is None else start.shard.label,
    )


def _is_locked(folder: Path) -> bool:
    try:
        refuse_locked(folder)
    except FolderInUseError:
        return True
    return False


def _first_start(sessions: Sequence[Session]) -> str | None:
    return next((session.started_at for session in sessions if session.started_at is not None), None)
