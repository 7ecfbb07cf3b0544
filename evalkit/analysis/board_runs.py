"""Runs for a leaderboard: what is read of each, and which are left out.

Of every run run.json is read and checked against manifest.json and the number of lines of samples.jsonl, so that
hundreds of runs take seconds; samples are read on demand.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evalkit.analysis.finished_run import StoredRun, all_run_folders, check_record, load_run, refuse_shard_record
from evalkit.errors import EvalkitError, IncompatibleRunError
from evalkit.files import reading
from evalkit.records import RunRecord
from evalkit.running.store import RUN, SAMPLES, read_run

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class BoardRun:
    """A run for the leaderboard: its record, and its samples on demand."""

    record: RunRecord
    folder: str
    load: Callable[[], StoredRun]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A folder whose run is not in the tables."""

    folder: str
    reason: str


def read_runs(paths: Sequence[Path]) -> tuple[list[BoardRun], tuple[LeftOut, ...]]:
    """All runs in `paths`, at any depth, and the folders below them whose runs cannot be used.

    Such a run has not finished, cannot be read, or disagrees with its own files. If it is itself one of `paths`, this
    raises UsageError or IncompatibleRunError, and so does a path without any run.
    """
    named = {os.path.realpath(path) for path in paths}
    folders = {os.path.realpath(folder): folder for path in paths for folder in all_run_folders(path)}
    runs, left_out = [], []
    for place, folder in folders.items():
        try:
            runs.append(_read_run(folder))
        except EvalkitError as error:
            if place in named:
                raise
            left_out.append(LeftOut(str(folder), str(error)))
    return runs, tuple(sorted(left_out, key=lambda one: one.folder))


def _read_run(folder: Path) -> BoardRun:
    record = read_run(folder)
    refuse_shard_record(folder, record)
    of_run = folder if os.path.isdir(folder) else folder.parent
    _check_lines(of_run, record)
    check_record(of_run, record)
    return BoardRun(record, str(folder), partial(load_run, folder))


def _check_lines(folder: Path, record: RunRecord) -> None:
    path = folder / SAMPLES
    lines, last = 0, b"\n"
    with reading(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    if last != b"\n" or lines != record.counts.n:
        part = "" if last == b"\n" else " and a part of one"
        raise IncompatibleRunError(
            f"{folder}: {RUN} counts {record.counts.n} samples, {SAMPLES} holds {lines}{part}; run it again"
        )
