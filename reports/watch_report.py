"""The report of runs that are followed: their progress, then what they have scored so far."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from evalkit.analysis.followed_run import FollowedRun
from evalkit.records import RunRecord
from evalkit.values import counted
from reports.numbers import duration
from reports.report import Report, Table
from reports.run_report import run_report


def watch_report(runs: Sequence[FollowedRun], partial: Sequence[RunRecord], now: datetime) -> Report:
    """One row per run, all shards of one run also together, then the tables of `partial`, the samples stored so far."""
    readable = [run for run in runs if run.state != "unreadable"]
    columns = ("run", "state", "samples", "errors", "per minute", "tokens/s", "time left", "last written", "on")
    rows = [_row(run, now) for run in readable]
    if len(readable) > 1 and all(run.shard is not None for run in readable):
        rows.append(_together(readable))
    tables = [Table("Progress", columns, tuple(rows))]
    unreadable = tuple((run.folder, run.reason) for run in runs if run.state == "unreadable")
    if unreadable:
        tables.append(Table("Cannot be read", ("folder", "reason"), unreadable))
    for record in partial:
        report = run_report(record)
        label = f"{report.headline}: " if len(partial) > 1 else ""
        tables += [replace(table, title=f"{label}{table.title}") for table in report.tables]
    return Report(_headline(readable), _notices(readable), tuple(tables), ())


def _headline(runs: Sequence[FollowedRun]) -> str:
    done, planned = sum(run.done for run in runs), sum(run.planned or run.done for run in runs)
    states = [
        f"{count} {state}" for state in dict.fromkeys(run.state for run in runs) if (count := _count(runs, state))
    ]
    return f"{counted(len(runs), 'run')} ({', '.join(states)}): {done:,} of {planned:,} samples"


def _count(runs: Sequence[FollowedRun], state: str) -> int:
    return sum(run.state == state for run in runs)


def _notices(runs: Sequence[FollowedRun]) -> tuple[str, ...]:
    silent = _count(runs, "silent")
    if not silent:
        return ()
    return (
        f"{silent} silent for longer than five samples take: stopped, or at a long prompt. "
        "A stopped run is continued by its own command with --resume.",
    )


def _row(run: FollowedRun, now: datetime) -> tuple[str, ...]:
    pace = run.pace
    left = None if pace is None or run.state == "finished" else pace.seconds_left
    return (
        run.folder + (f" ({run.shard.label})" if run.shard is not None else ""),
        run.state,
        f"{run.done:,}" if run.planned in (None, run.done) else f"{run.done:,} of {run.planned:,}",
        str(run.errors or "-"),
        "-" if pace is None else f"{pace.samples_per_minute:,.1f}",
        "-" if pace is None else f"{pace.tokens_per_second:,.0f}",
        "-" if left is None else duration(left),
        "-" if run.updated_at is None else f"{duration(max(0.0, (now - run.updated_at).total_seconds()))} ago",
        run.hardware or "-",
    )


def _together(runs: Sequence[FollowedRun]) -> tuple[str, ...]:
    """All shards: their paces summed if they are at work, and the time of the slowest."""
    paces = [run.pace for run in runs if run.state == "running" and run.pace is not None]
    left = [pace.seconds_left for pace in paces if pace.seconds_left is not None]
    waits = any(run.state in ("silent", "starting") for run in runs)
    return (
        f"{len(runs)} of {runs[0].shard.count if runs[0].shard else len(runs)} shards",
        "",
        f"{sum(run.done for run in runs):,} of {sum(run.planned or run.done for run in runs):,}",
        str(sum(run.errors for run in runs) or "-"),
        f"{sum(pace.samples_per_minute for pace in paces):,.1f}" if paces else "-",
        f"{sum(pace.tokens_per_second for pace in paces):,.0f}" if paces else "-",
        duration(max(left)) if left and not waits else "-",
        "",
        "",
    )
