"""Reports on the terminal, and the progress bar of a run."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from evalkit.records import RunRecord, SampleRecord, SuitePlan
from reports.run_report import Report, Table, run_report


def print_run(console: Console, record: RunRecord) -> None:
    """Print the report of one run."""
    print_report(console, run_report(record))


def print_report(console: Console, report: Report) -> None:
    """Print a report; its text is never read as rich markup."""
    console.print(Text(report.headline, style="bold"))
    for notice in report.notices:
        console.print(Text(notice, style="yellow"))
    for table in report.tables:
        console.print(_rich_table(table))
    width = max((len(name) for name, _ in report.facts), default=0)
    for name, value in report.facts:
        console.print(Text(f"{name:<{width}}  {value}"))


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(title=Text(table.title), title_justify="left")
    for position, column in enumerate(table.columns):
        shown.add_column(Text(column), justify="left" if position == 0 else "right")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown


class ProgressBar:
    """Watches a run: samples done, tokens per second, time left; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            # A bar redrawn into a file is noise; there the estimate line below says what matters.
            disable=not console.is_terminal,
        )
        self._console = console
        self._bar = self._progress.add_task("waiting for the first sample", total=None, rate="")
        self._tokens = 0
        self._pending = 0
        self._done = 0
        self._started = time.perf_counter()

    def started(self, plan: SuitePlan, pending: int) -> None:
        self._pending = pending
        self._started = time.perf_counter()
        kept = len(plan.keys) - pending
        if kept:
            self._console.print(
                f"{kept} of {len(plan.keys)} samples were finished before; {pending} to go", markup=False
            )
        self._progress.update(self._bar, total=pending)

    def sample_ended(self, record: SampleRecord) -> None:
        self._done += 1
        self._tokens += record.prompt_tokens + record.completion_tokens
        seconds = time.perf_counter() - self._started
        rate = f"{self._tokens / max(seconds, 1e-9):,.0f} tokens/s"
        self._progress.update(self._bar, advance=1, description=f"{record.task} @ {record.ctx:,}", rate=rate)
        if self._done == 1 and self._pending > 1:
            left = seconds * (self._pending - 1)
            self._console.print(
                f"first sample took {seconds:.1f} s at {rate}: about {_duration(left)} for the other "
                f"{self._pending - 1}, if they are alike",
                markup=False,
                highlight=False,
            )

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
