"""Stored runs, whose records are checked against their own samples when they are read."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.files import reading
from evalkit.records import Counts, Manifest, ResultRow, RunRecord, SampleRecord
from evalkit.records.metrics import metric_of
from evalkit.running.run_files import MANIFEST, RUN, SAMPLES, STARTED, read_manifest, read_run, read_samples
from evalkit.running.shards import SHARDS
from evalkit.statistics.rows import cells_of, row_value

Cell = tuple[str, int]
"""Task and context length."""

_TOLERANCE = 1e-6
SUPERSEDED = "superseded"
"""Folder in which a plan keeps runs that it could not continue; no command reads them."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run whose record agrees with its samples."""

    folder: Path
    record: RunRecord
    samples: Mapping[str, SampleRecord]
    """By sample id, in the order of samples.jsonl."""

    def cells(self) -> dict[Cell, list[SampleRecord]]:
        """Samples by task and context length, ordered by index within each."""
        return dict(cells_of(sorted(self.samples.values(), key=lambda sample: (sample.index, sample.seed))))


def load_run(path: Path) -> StoredRun:
    """The run in folder `path`, or whose run.json is `path`.

    Raises UsageError if it is missing, unfinished, truncated, a shard or not a run, and IncompatibleRunError if its
    record disagrees with its own samples; both name the file.
    """
    return refuse_shard(load_run_or_shard(path))


def refuse_shard(run: StoredRun) -> StoredRun:
    """The run; UsageError if it is a shard, from whose samples nothing follows for the whole run."""
    refuse_shard_record(run.folder, run.record)
    return run


def refuse_shard_record(folder: Path, record: RunRecord) -> None:
    """Raise UsageError if `record`, which is of `folder`, is that of a shard."""
    if record.shard is not None:
        raise UsageError(
            f"{folder} is {record.shard.label} of a run; merge the shards with "
            "`evalkit merge FOLDER... --out FOLDER`, and name the merged run"
        )


def load_run_or_shard(path: Path) -> StoredRun:
    """As `load_run`, for commands that take a shard too."""
    record = read_run(path)
    folder = path if os.path.isdir(path) else path.parent
    _refuse_cut_off(folder / SAMPLES)
    listed = read_samples(folder)
    samples = {sample.id: sample for sample in listed}
    check_samples(folder, listed)
    if disagreement := _counts(record, listed) or _rows(record, listed):
        raise _disagrees(folder, RUN, SAMPLES, disagreement)
    check_record(folder, record)
    return StoredRun(folder, record, samples)


def check_samples(folder: Path, samples: Sequence[SampleRecord]) -> None:
    """Raise IncompatibleRunError if samples.jsonl contradicts itself."""
    if disagreement := _duplicates(samples) or _misnamed(samples):
        raise IncompatibleRunError(
            f"{folder}: {SAMPLES} contradicts itself ({disagreement}), so nothing can be concluded from it; run again"
        )


def check_record(folder: Path, record: RunRecord) -> None:
    """Check what a record's samples are not needed for: that it belongs to this folder's manifest, and its means.

    Raises IncompatibleRunError if it does not, and UsageError if manifest.json cannot be read.
    """
    stored_in = STARTED if record.unfinished else RUN
    if difference := _foreign_manifest(folder, record):
        raise _disagrees(folder, stored_in, MANIFEST, difference)
    if difference := _means(record):
        raise _disagrees(folder, stored_in, "rows", difference)


def _disagrees(folder: Path, file: str, other: str, how: str) -> IncompatibleRunError:
    return IncompatibleRunError(
        f"{folder}: {file} disagrees with its own {other} ({how}), so nothing can be concluded from it; run it again"
    )


def load_runs(path: Path, load: Callable[[Path], StoredRun] = load_run) -> list[StoredRun]:
    """The run in `path`, or the runs below `path`, such as those of a plan, ordered by suite.

    `load` reads one of them. Raises UsageError as `load` does, and if the folder has two runs of one suite.
    """
    runs = [load(folder) for folder in run_folders(path)]
    first: dict[str, Path] = {}
    for run in runs:
        if run.record.suite in first:
            raise UsageError(
                f"{path} holds two runs of {run.record.suite} ({first[run.record.suite].relative_to(path)} and "
                f"{run.folder.relative_to(path)}); name the one that is meant"
            )
        first[run.record.suite] = run.folder
    return sorted(runs, key=lambda run: run.record.suite)


def run_folders(path: Path) -> list[Path]:
    """`path` itself if it is a run, else the runs below it that lie in no other run, by name.

    A folder with any file of a run counts as a run, so that a broken run is reported and not ignored. Folders are
    passed over as by `all_run_folders`; raises UsageError if there is none.
    """
    return _found(path, in_runs=False, shards=False)


def all_run_folders(path: Path, *, shards: bool = False) -> list[Path]:
    """Every run folder at `path` and below it, such as those of a plan and of baselines, by name.

    Folders whose name begins with a dot, runs that a plan has superseded, and without `shards` folders of shards are
    passed over. Raises UsageError if there is none.
    """
    return _found(path, in_runs=True, shards=shards)


def _found(path: Path, *, in_runs: bool, shards: bool) -> list[Path]:
    if not os.path.isdir(path):
        return [path]
    found = []
    for folder, below, _ in os.walk(path):
        # os.walk descends into the folders that stay in this list.
        passed_over = (SUPERSEDED,) if shards else (SUPERSEDED, SHARDS)
        below[:] = [name for name in below if not name.startswith(".") and name not in passed_over]
        if _holds_run(Path(folder)):
            found.append(Path(folder))
            if not in_runs:
                below.clear()
    if not found:
        raise UsageError(f"{path} holds no run: neither {RUN} nor folders with one")
    return sorted(found)


def _holds_run(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in (RUN, SAMPLES, MANIFEST, STARTED))


def _refuse_cut_off(path: Path) -> None:
    if not os.path.lexists(path):
        raise UsageError(f"{path} does not exist; a record without its samples cannot be compared")
    with reading(path), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        whole = size == 0 or file.read(1) == b"\n"
    if not whole:
        raise UsageError(f"{path} is cut off in its last line, though {RUN} says that the run ended; run it again")


def _duplicates(samples: Sequence[SampleRecord]) -> str | None:
    counts = Counter(sample.id for sample in samples)
    twice = next((name for name, count in counts.items() if count > 1), None)
    return None if twice is None else f"sample {twice} is in the file {counts[twice]} times"


def _foreign_manifest(folder: Path, record: RunRecord) -> str | None:
    """How manifest.json contradicts the record; a folder without one is accepted."""
    if not os.path.lexists(folder / MANIFEST):
        return None
    differences = read_manifest(folder).differences(Manifest.of_record(record))
    return f"there is another {differences[0]}" if differences else None


def _misnamed(samples: Sequence[SampleRecord]) -> str | None:
    for sample in samples:
        if sample.id != f"{sample.task}/{sample.ctx}/{sample.index}/{sample.seed}":
            return f"sample {sample.id} is not what its fields say"
        if sample.score is not None and metric_of(sample.metric).bounded and not 0 <= sample.score <= 1:
            return f"sample {sample.id} has a score of {sample.score:g}"
    return None


def _counts(record: RunRecord, samples: Sequence[SampleRecord]) -> str | None:
    seen = Counts.of(samples)
    for name in ("n", "errors", "unscored"):
        stated, count = getattr(record.counts, name), getattr(seen, name)
        if stated != count:
            return f"counts.{name} is {stated}, the samples give {count}"
    failures = dict(Counter(sample.failure for sample in samples if sample.failure is not None))
    return None if failures == record.failures else f"failures are {record.failures}, the samples give {failures}"


def _rows(record: RunRecord, samples: Sequence[SampleRecord]) -> str | None:
    cells = cells_of(samples)
    rows = {row.cell: row for row in record.results}
    if len(rows) < len(record.results):
        return "two rows have one name"
    missing = next((cell for cell in cells if cell not in rows), None)
    if missing is not None:
        return f"no row for {missing[0]} at {missing[1]}"
    return next((found for cell, row in rows.items() if (found := _row(row, cells.get(cell, [])))), None)


def _row(row: ResultRow, samples: Sequence[SampleRecord]) -> str | None:
    where = f"{row.name} at {row.ctx}"
    scored = [sample for sample in samples if sample.score is not None]
    if row.n != len(scored):
        return f"{where} has n = {row.n}, the samples give {len(scored)}"
    errors = sum(sample.error is not None for sample in samples)
    if row.errors != errors:
        return f"{where} has {row.errors} errors, the samples give {errors}"
    value = row_value(scored)
    if not same_value(row.value, value):
        return f"{where} is {_figure(row.value)}, the samples give {_figure(value)}"
    return None


def _means(record: RunRecord) -> str | None:
    for row in record.summary:
        scored = [result for result in record.results if result.ctx == row.ctx and result.value is not None]
        weights = [result.n if row.by_sample else 1 for result in scored]
        total = math.fsum(weight * (result.value or 0.0) for weight, result in zip(weights, scored, strict=True))
        mean = total / sum(weights) if scored else None
        if not same_value(row.mean, mean):
            return f"the mean at {row.ctx} is {_figure(row.mean)}, its rows give {_figure(mean)}"
    return None


def same_value(left: float | None, right: float | None) -> bool:
    """Whether two values of a row are equal except for rounding."""
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _figure(value: float | None) -> str:
    return "missing" if value is None else json.dumps(round(value, 6))
