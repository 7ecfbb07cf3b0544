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
            "waiting for the first sample", total=None, samples="", rate="", ends_at=None
        )
        self._ended = self._pending = 0
        self._asked = 0
        """Samples among those ended that the model has answered; the others could not be asked."""
        self._work_done = self._work_left = self._tokens = 0
        self._first_prompt_at = self._last_line_at = time.perf_counter()

    def started(self, plan: SuitePlan, pending: Sequence[SampleKey]) -> None:
        self._pending = len(pending)
        self._work_left = sum(_work(key.ctx) for key in pending)
        kept = len(plan.keys) - len(pending)
        if kept:
            self._say(f"{kept:,} of {len(plan.keys):,} samples were finished before; {len(pending):,} to go")
        self._progress.update(self._bar, total=self._work_left)

    def first_prompt(self) -> None:
        self._first_prompt_at = self._last_line_at = time.perf_counter()

    def sample_ended(self, record: SampleRecord) -> None:
        work = _work(record.ctx)
        self._ended += 1
        self._work_left -= work
        self._progress.update(
            self._bar,
            advance=work,
            description=one_line(f"{record.task} @ {record.ctx:,}" if record.ctx else record.task),
            samples=f"{self._ended}/{self._pending}",
        )
        if record.unscored is None:
            self._asked += 1
            self._work_done += work
            self._tokens += record.prompt_tokens + record.completion_tokens
            self._estimate()

    def _estimate(self) -> None:
        now = time.perf_counter()
        seconds = now - self._first_prompt_at
        seconds_left = seconds * self._work_left / self._work_done
        rate = f"{self._tokens / max(seconds, 1e-9):,.0f} tokens/s"
        self._progress.update(self._bar, rate=rate, ends_at=now + seconds_left)
        left = self._pending - self._ended
        quiet_for = now - self._last_line_at
        if left and self._asked == 1:
            self._say(
                f"the first sample took {seconds:.1f} s ({rate}); about {_duration(seconds_left)} for {left} more"
            )
        elif left and not self._console.is_terminal and quiet_for > SECONDS_BETWEEN_LOG_LINES:
            self._say(f"{self._ended} of {self._pending} samples, {rate}, about {_duration(seconds_left)} left")

    def _say(self, line: str) -> None:
        self._console.print(Text(line))
        self._last_line_at = time.perf_counter()

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()


class _TimeLeft(ProgressColumn):
    """Time left by the average so far; rich's own looks at the last half minute, in which no sample may end."""

    def render(self, task: Task) -> Text:
        ends_at = task.fields["ends_at"]
        left = "–" if ends_at is None else _duration(max(0.0, ends_at - time.perf_counter()))
        return Text(f"{left} left", style="progress.remaining")


def _work(ctx: int) -> int:
    return max(1, ctx)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
