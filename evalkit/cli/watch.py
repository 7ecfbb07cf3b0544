"""`evalkit watch`: the progress and the scores so far of runs at work."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.output import print_result

if TYPE_CHECKING:
    from evalkit.analysis.followed_run import FollowedRun
    from evalkit.records import RunRecord
    from reports.report import Report

EXAMPLES = (
    "Examples: evalkit watch runs/ruler-my-model-1a2b3c4d · "
    "evalkit watch runs/shards/ruler-my-model-1a2b3c4d · evalkit watch runs --once"
)
MOST_TABLES = 3
"""Number of runs up to which scores are shown in addition to progress."""
BUSY_SHARE = 0.2
"""Largest share of the time that is spent on reading; long runs are read less often for it."""


def watch(
    folders: list[Path] = typer.Argument(
        ..., metavar="FOLDER…", help="Run folders, shards of a run, or folders of them, searched at any depth."
    ),
    once: bool = typer.Option(False, "--once", help="Print the present state and exit, as in a pipe."),
    interval: float = typer.Option(5.0, "--interval", min=0.1, help="Minimum seconds between refreshes."),
    format: options.Format = options.FORMAT,
) -> None:
    """Show progress, pace, time left and scores so far of runs that are at work or were stopped.

    Only files are read, so it works on any machine that sees the folder, or a copy of it. On a terminal it refreshes
    until all runs have finished. Shards of one run are shown together. Scores are shown for up to three runs.
    """
    import sys

    watched = _Watched(folders)
    if once or format is options.Format.JSON or not sys.stdout.isatty():
        watched.look()
        print_result(format, {"runs": watched.runs, "partial": watched.partial}, watched.report())
        return
    _refresh(watched, interval)


def _refresh(watched: "_Watched", interval: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from reports.terminal import print_report, stdout_console

    console = stdout_console()
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            began = time.perf_counter()
            watched.look()
            with console.capture() as shown:
                print_report(console, watched.report())
            live.update(Text.from_ansi(shown.get()), refresh=True)
            if all(run.state in ("finished", "unreadable") for run in watched.runs):
                return
            spent = time.perf_counter() - began
            time.sleep(max(interval, spent / BUSY_SHARE))


class _Watched:
    """Runs with what their files said when they were last read, which is repeated only if a file has changed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises UsageError for a path that does not exist."""
        from evalkit.errors import UsageError

        if (missing := next((path for path in paths if not path.exists()), None)) is not None:
            raise UsageError(f"{missing} does not exist; name the folder of a run, or one that holds runs")
        self._paths = paths
        self._seen: dict[Path, tuple[tuple[int, int] | None, ...]] = {}
        self._known: dict[Path, FollowedRun] = {}
        self.runs: list[FollowedRun] = []
        self.partial: list[RunRecord] = []

    def look(self) -> None:
        """Read the files that changed. Raises UsageError for a path without any run."""
        from evalkit.analysis.finished_run import all_run_folders
        from evalkit.analysis.followed_run import follow

        folders = list(dict.fromkeys(folder for path in self._paths for folder in all_run_folders(path, shards=True)))
        seen = {folder: _signature(folder) for folder in folders}
        now = datetime.now(UTC)
        same = {folder: self._known[folder] for folder in folders if self._seen.get(folder) == seen[folder]}
        # Time alone makes a running run a silent one.
        self.runs = [
            known if (known := same.get(folder)) and known.state != "running" else follow(folder, now)
            for folder in folders
        ]
        if seen != self._seen:
            self.partial = _partial(self.runs)
        self._seen, self._known = seen, dict(zip(folders, self.runs, strict=True))

    def report(self) -> "Report":
        from reports.watch_report import watch_report

        return watch_report(self.runs, self.partial, datetime.now(UTC))


def _signature(folder: Path) -> tuple[tuple[int, int] | None, ...]:
    """Size and time of the files that change while a run is at work; None for one that is not there."""
    from evalkit.running.run_files import RUN, SAMPLES, SESSIONS, STARTED

    def stamp(name: str) -> tuple[int, int] | None:
        try:
            status = os.stat(folder / name)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    return tuple(stamp(name) for name in (STARTED, SAMPLES, SESSIONS, RUN))


def _partial(runs: "Sequence[FollowedRun]") -> "list[RunRecord]":
    """The records of a few runs as far as they are stored; shards of one run as one."""
    from evalkit.cli.shared.stored_runs import open_run
    from evalkit.errors import EvalkitError

    shown = [run for run in runs if run.state != "unreadable" and run.done]
    if (together := _shards_together(shown)) is not None:
        return [together]
    records = []
    for run in shown if len(shown) <= MOST_TABLES else []:
        try:
            records.append(open_run(Path(run.folder)).record)
        except EvalkitError:
            # A file changed between two looks; the progress says what is wrong if it stays so.
            continue
    return records


def _shards_together(runs: "Sequence[FollowedRun]") -> "RunRecord | None":
    """The record of what all shards of one run have stored; None if these are not shards of one run."""
    from evalkit.analysis.merging import join_shards, read_stored_shard
    from evalkit.cli.shared.stored_runs import summarize
    from evalkit.errors import EvalkitError
    from evalkit.running.assembly import summary_of_part

    if len(runs) < 2 or any(run.shard is None for run in runs):
        return None
    try:
        joined = join_shards([read_stored_shard(Path(run.folder)) for run in runs])
    except EvalkitError:
        return None
    if joined is None:
        return None
    summary = summarize(joined.start, joined.samples)
    if len(joined.samples) == joined.start.planned:
        return joined.record(joined.start.run_id, summary)
    return replace(joined.record(joined.start.run_id, summary_of_part(summary)), unfinished=True)
