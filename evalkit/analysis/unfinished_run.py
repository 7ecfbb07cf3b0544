"""Runs that were stopped, read from their files."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.analysis.finished_run import StoredRun, check_record, check_samples
from evalkit.errors import UsageError
from evalkit.records import RunStart, SampleRecord, SuiteSummary
from evalkit.running.assembly import assemble, summary_of_part
from evalkit.running.run_files import RUN, is_begun, read_samples, read_sessions, read_start
from evalkit.statistics.rows import cells_of, result_row

Summarize = Callable[[RunStart, Sequence[SampleRecord]], SuiteSummary]
"""The suite's summary of the stored samples."""


def is_unfinished(path: Path) -> bool:
    """Whether `path` is the folder of a run that has started and not finished."""
    return os.path.isdir(path) and is_begun(path) and not os.path.lexists(path / RUN)


def load_unfinished(folder: Path, summarize: Summarize) -> StoredRun:
    """The samples that are stored so far, with a record that is marked unfinished.

    Its means are incomplete, and it has no verdict and no figure that follows from the rows of a whole run, such as the
    effective length. Raises UsageError if there is no sample yet or a file cannot be read, and IncompatibleRunError as
    `load_run`.
    """
    start = read_start(folder)
    samples = read_samples(folder)
    if not samples:
        raise UsageError(
            f"{folder} has not finished, and none of its {start.planned:,} samples is stored yet; "
            "continue it with --resume"
        )
    check_samples(folder, samples)
    part = summary_of_part(summarize(start, samples))
    record = replace(assemble(start, samples, part, read_sessions(folder)), unfinished=True)
    check_record(folder, record)
    return StoredRun(folder, record, {sample.id: sample for sample in samples})


def plain_summary(samples: Sequence[SampleRecord]) -> SuiteSummary:
    """A row for each task and length, for suites whose own summary needs more than the samples."""
    return SuiteSummary(tuple(result_row(task, ctx, here) for (task, ctx), here in cells_of(samples).items()))
