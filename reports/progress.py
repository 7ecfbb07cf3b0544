"""The progress of a run: a bar on a terminal, one line per minute in a log."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from evalkit.records import SampleKey, SampleRecord, SuitePlan
from evalkit.records.metrics import metric_of
from evalkit.running.activity import Activity, listening
from evalkit.running.replicas.work import cost_tokens
from reports.numbers import duration
from reports.plain_text import one_line

SECONDS_BETWEEN_LOG_LINES = 60.0
ROOM_FOR_TIMES, ROOM_FOR_BAR = 80, 110
"""Columns of a terminal from which the elapsed time, and from which the bar is shown."""


def draws(console: Console) -> bool:
    """Whether something can be redrawn in place: on a terminal, and not in a log that only wants colours."""
    if "FORCE_COLOR" in os.environ and not console.file.isatty():
        return False
    return console.is_interactive


class Phases:
    """Names what is done before the first prompt, as it is reported; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not draws(console),
        )
        self._stack = ExitStack()
        self._phase = ""

    def __enter__(self) -> "Phases":
        self._stack.enter_context(self._progress)
        self._stack.enter_context(listening(self._heard))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _heard(self, activity: Activity) -> None:
        """Show a phase when it begins; the progress within it is too short to be shown."""
        if activity.total or activity.phase == self._phase:
            return
        self._phase = activity.phase
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(one_line(activity.phase), total=None)
        if self._progress.disable:
            self._console.print(Text(f"{one_line(activity.phase)} …"))


class ProgressBar:
    """Shows samples done, tokens per second, the score so far and time left; use as a context manager."""

    def __init__(self, console: Console) -> None:
        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
        if console.width >= ROOM_FOR_BAR:
            columns.append(BarColumn(bar_width=min(40, console.width - 95)))
        columns += [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("samples", "score")]
        if console.width >= ROOM_FOR_TIMES:
            columns += [TextColumn("{task.fields[rate]}", markup=False), TimeElapsedColumn()]
        # A bar redrawn into a file is noise, so lines are printed there instead.
        self._progress = Progress(*columns, _TimeLeft(), console=console, disable=not draws(console))
        self._console = console
        self._bar = self._progress.add_task(
            "waiting for the first sample", total=None, samples="", score="", rate="", ends_at=None
        )
        self._pace, self._score = _Pace(), _Score()
        self._ended = self._pending = self._errored = 0
        self._first_prompt_at: float | None = None
        self._last_line_at = time.perf_counter()
        self._stack = ExitStack()

    def started(self, plan: SuitePlan, pending: Sequence[SampleKey]) -> None:
        self._pending = len(pending)
        self._pace.work = sum(map(cost_tokens, pending))
        kept = len(plan.keys) - len(pending)
        if kept:
            self._say(f"{kept:,} of {len(plan.keys):,} samples are stored already; {len(pending):,} to run")
        self._progress.update(self._bar, total=self._pace.work)

    def prompt_sent(self, key: SampleKey) -> None:
        if self._first_prompt_at is None:
            # Time spent earlier, such as on reading corpora, says nothing about the time per prompt.
            self._first_prompt_at = self._last_line_at = time.perf_counter()
        self._pace.sent += cost_tokens(key)

    def sample_ended(self, record: SampleRecord) -> None:
        self._ended += 1
        self._pace.add(record)
        self._score.add(record)
        if record.error is not None:
            self._errored += 1
            if self._errored == 1:  # a server that is gone or a lack of memory fails many samples alike
                self._say(one_line(f"error of {record.id}: {record.error}"))
        self._progress.update(
            self._bar,
            advance=cost_tokens(record),
            description=one_line(f"{record.task} @ {record.ctx:,}" if record.ctx else record.task),
            samples=f"{self._ended}/{self._pending}{f', {self._errored:,} errored' if self._errored else ''}",
            score=self._score.text,
        )
        if record.unscored is None and self._first_prompt_at is not None:
            self._tell(time.perf_counter(), self._first_prompt_at)

    def __enter__(self) -> "ProgressBar":
        self._stack.enter_context(self._progress)
        self._stack.enter_context(listening(self._heard))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _heard(self, activity: Activity) -> None:
        """Show a phase, and how much of a long prompt is read; in a log at most once a minute."""
        now = time.perf_counter()
        read = f" {activity.done:,} of {activity.total:,} tokens" if activity.total else ""
        shown = one_line(activity.phase) + read
        self._progress.update(self._bar, description=shown)
        since = now - self._last_line_at
        if self._progress.disable and (not activity.total or since > SECONDS_BETWEEN_LOG_LINES):
            waited = "" if self._first_prompt_at is None else f", {now - self._first_prompt_at:.0f} s so far"
            self._say(f"{shown}{waited if read else ' …'}")

    def _tell(self, now: float, first_prompt_at: float) -> None:
        """Print the estimate once it exists, and then, if no bar is drawn, one line per minute."""
        seconds = now - first_prompt_at
        seconds_left = seconds * (1 / self._pace.share_done - 1)
        rate = f"{self._pace.tokens / max(seconds, 1e-9):,.0f} tokens/s"
        self._progress.update(self._bar, rate=rate, ends_at=now + seconds_left)
        left = self._pending - self._ended
        if left and self._pace.answered == 1:
            self._say(f"first answer after {seconds:.1f} s; about {duration(seconds_left)} for the other {left}")
        elif left and self._progress.disable and now - self._last_line_at > SECONDS_BETWEEN_LOG_LINES:
            score = f", {self._score.text} so far" if self._score.text else ""
            errors = f", {self._errored:,} errored" if self._errored else ""
            counts = f"{self._ended} of {self._pending} samples{errors}"
            self._say(f"{counts}, {rate}{score}, about {duration(seconds_left)} left")

    def _say(self, line: str) -> None:
        self._console.print(Text(line))
        self._last_line_at = time.perf_counter()


@dataclass(slots=True)
class _Score:
    """The mean score of the samples so far, which is not that of the run: tasks and lengths are not finished."""

    total: float = 0.0
    n: int = 0

    def add(self, record: SampleRecord) -> None:
        if record.score is not None and metric_of(record.metric).bounded:
            self.total += record.score
            self.n += 1

    @property
    def text(self) -> str:
        return f"score {100 * self.total / self.n:.1f}" if self.n else ""


@dataclass(slots=True)
class _Pace:
    """Progress in requested tokens, because a sample of 65,536 tokens takes longer than one of 4,096."""

    work: int = 0
    """Requested tokens of all pending samples."""
    sent: int = 0
    """Of the prompts that the model has; a model that answers several at once has read them before it answers."""
    done: int = 0
    tokens: int = 0
    answered: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    def add(self, record: SampleRecord) -> None:
        if record.unscored is not None:
            self.work -= cost_tokens(record)
            return
        self.answered += 1
        self.done += cost_tokens(record)
        self.tokens += record.prompt_tokens + record.completion_tokens
        self.prefill_seconds += record.prefill_seconds or 0.0
        self.decode_seconds += record.decode_seconds or 0.0

    @property
    def share_done(self) -> float:
        """Progress in (0, 1]: prompts sent count for prefill, answers ended for decoding, weighted by time."""
        seconds = self.prefill_seconds + self.decode_seconds
        prefill = self.prefill_seconds / seconds if seconds > 0 else 0.0
        return (prefill * self.sent + (1 - prefill) * self.done) / self.work


class _TimeLeft(ProgressColumn):
    """Time left by the average so far; rich's own column uses the last half minute, in which no sample may end."""

    def render(self, task: Task) -> Text:
        ends_at = task.fields["ends_at"]
        left = "–" if ends_at is None else duration(max(0.0, ends_at - time.perf_counter()))
        return Text(f"{left} left", style="progress.remaining")
