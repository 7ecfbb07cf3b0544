"""Reading of stored runs, finished or stopped, for commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import RunStart, SampleRecord, SuiteSummary


def open_run(path: Path) -> "StoredRun":
    """The run or shard in folder `path`, finished or not; raises as `load_run` and `load_unfinished`."""
    from evalkit.analysis.finished_run import load_run_or_shard
    from evalkit.analysis.unfinished_run import is_unfinished, load_unfinished

    return load_unfinished(path, summarize) if is_unfinished(path) else load_run_or_shard(path)


def open_whole_run(path: Path) -> "StoredRun":
    """As `open_run`; UsageError also for a shard."""
    from evalkit.analysis.finished_run import refuse_shard

    return refuse_shard(open_run(path))


def summarize(start: "RunStart", samples: "Sequence[SampleRecord]") -> "SuiteSummary":
    """The suite's own summary from its settings and samples, or a plain one if it needs more than these."""
    from evalkit.analysis.unfinished_run import plain_summary

    return summarize_stored(start.suite, start.config, samples) or plain_summary(samples)


def summarize_stored(
    suite: str, config: "Mapping[str, Any]", samples: "Sequence[SampleRecord]"
) -> "SuiteSummary | None":
    """The suite's own summary; None if it needs more than settings and samples, or settings of another version."""
    from evalkit.suite_spec import find_suite

    try:
        spec = find_suite(suite)
        return None if spec.summarize is None else spec.summarize(spec.stored(config), samples)
    except UsageError:
        return None
