"""A list of runs as a table."""

from collections.abc import Sequence

from evalkit.analysis.run_list import ListedRun
from evalkit.values import counted
from reports.report import Report, Table


def run_list_report(runs: Sequence[ListedRun]) -> Report:
    """One row per run, in the given order; runs that cannot be read in a table of their own."""
    listed = [run for run in runs if run.state != "unreadable"]
    unreadable = [run for run in runs if run.state == "unreadable"]
    tables = []
    if listed:
        columns = ("run", "started (UTC)", "state", "suite", "model", "lengths", "samples", "score")
        tables.append(Table("Runs, the newest first", columns, tuple(map(_row, listed))))
    if unreadable:
        rows = tuple((run.folder, run.reason) for run in unreadable)
        tables.append(Table("Cannot be read", ("folder", "reason"), rows))
    stopped = sum(run.state == "stopped" for run in runs)
    notices = (
        (f"{stopped} stopped; each is continued by its own command with --resume, or shown with: evalkit show RUN",)
        if stopped
        else ()
    )
    return Report(counted(len(runs), "run"), notices, tuple(tables), ())


def _row(run: ListedRun) -> tuple[str, ...]:
    return (
        run.folder,
        "-" if run.started_at is None else run.started_at.replace("T", " ").removesuffix("Z")[:16],
        ", ".join(filter(None, (run.state, run.shard, counted(run.errors, "error") if run.errors else ""))),
        run.suite + (f" ({run.dialect})" if run.dialect not in ("", run.suite) else ""),
        run.model,
        _lengths(run.lengths),
        f"{run.samples:,}" if run.planned in (None, run.samples) else f"{run.samples:,} of {run.planned:,}",
        "-" if run.mean is None else f"{run.mean:.1f}",
    )


def _lengths(lengths: Sequence[int]) -> str:
    if not lengths:
        return "-"
    return f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"
