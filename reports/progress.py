"""The progress of a run: a bar on a terminal, now and then a line in a log."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from evalkit.records import SampleKey, SampleRecord, SuitePlan
from reports.plain_text import one_line

SECONDS_BETWEEN_LOG_LINES = 60.0


class ProgressBar:
    """Watches a run: samples done, tokens per second, time left; use as a context manager.

    The work is counted in requested tokens, because a sample of 65,536 tokens takes longer than one of 4,096.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[samples]}", markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=console,
            # A bar redrawn into a file is noise; lines are printed there instead.
            disable=not console.is_terminal,
        )
        self._console = console
        self._bar = self._progress.add_task(
            "waiting for the first sample", total=None, samples="", rate="", seconds_expected=None
        )
        self._samples = self._pending = 0
        self._work_done = self._work = 0
        self._tokens = 0
        self._started = self._last_line = time.perf_counter()

    def started(self, plan: SuitePlan, pending: Sequence[SampleKey]) -> None:
        self._pending = len(pending)
        self._work = sum(_work(key.ctx) for key in pending)
        self._started = self._last_line = time.perf_counter()
        kept = len(plan.keys) - len(pending)
        if kept:
            self._say(f"{kept:,} of {len(plan.keys):,} samples were finished before; {len(pending):,} to go")
        self._progress.update(self._bar, total=self._work)

    def sample_ended(self, record: SampleRecord) -> None:
        self._samples += 1
        self._work_done += _work(record.ctx)
        self._tokens += record.prompt_tokens + record.completion_tokens
        seconds = time.perf_counter() - self._started
        rate = f"{self._tokens / max(seconds, 1e-9):,.0f} tokens/s"
        expected = seconds * self._work / self._work_done
        self._progress.update(
            self._bar,
            completed=self._work_done,
            description=one_line(f"{record.task} @ {record.ctx:,}" if record.ctx else record.task),
            samples=f"{self._samples}/{self._pending}",
            rate=rate,
            seconds_expected=expected,
        )
        self._tell(seconds, expected - seconds, rate)

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def _tell(self, seconds: float, seconds_left: float, rate: str) -> None:
        """The estimate, once there is one, and where no bar is drawn a line a minute."""
        left = self._pending - self._samples
        if left == 0:
            return
        if self._samples == 1:
            self._say(
                f"the first sample took {seconds:.1f} s ({rate}); about {_duration(seconds_left)} for {left} more"
            )
        elif not self._console.is_terminal and seconds - (self._last_line - self._started) > SECONDS_BETWEEN_LOG_LINES:
            self._say(f"{self._samples} of {self._pending} samples, {rate}, about {_duration(seconds_left)} left")
        else:
            return
        self._last_line = time.perf_counter()

    def _say(self, line: str) -> None:
        self._console.print(Text(line))


class _TimeLeft(ProgressColumn):
    """Time left by the average so far; rich's own looks at the last half minute, in which no sample may end."""

    def render(self, task: Task) -> Text:
        expected, elapsed = task.fields["seconds_expected"], task.elapsed
        if expected is None or elapsed is None:
            return Text("time left: –", style="progress.remaining")
        return Text(f"{_duration(max(0.0, expected - elapsed))} left", style="progress.remaining")


def _work(ctx: int) -> int:
    return max(1, ctx)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
