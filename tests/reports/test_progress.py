"""The progress of a run: its speed and remaining time."""

import io
import re
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from evalkit.records import SampleKey, SampleRecord, SuitePlan
from evalkit.running.activity import Activity, report
from evalkit.running.store import read_samples
from reports import progress
from reports.progress import Phases, ProgressBar
from tests.evalkit.runs import run_in
from tests.evalkit.tiny_suite import TinySuite


class Clock:
    """Replaces `time`; tests set each reading."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def perf_counter(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleRecord:
    folder = tmp_path_factory.mktemp("sample")
    run_in(folder, TinySuite(samples=1))
    return replace(read_samples(folder)[0], prompt_tokens=4000, completion_tokens=96, ctx=4096)


def plan(*ctxs: int, samples: int = 1) -> SuitePlan:
    return SuitePlan(tuple(SampleKey("vt", ctx, i, 42) for ctx in ctxs for i in range(samples)), (), ())


def watch(
    clock: Clock, asked: SuitePlan, ended: list[tuple[float, SampleRecord]], *, kept: int = 0, together: int = 1
) -> list[str]:
    """The lines of a log file; `ended` has the seconds when samples end, `together` the number sent at once."""
    file, sent = io.StringIO(), 0
    with ProgressBar(Console(file=file, width=200)) as bar:
        bar.started(asked, asked.keys[kept:])
        clock.seconds += 30.0  # corpora are read, and the first prompt is made
        waiting, answered = deque(asked.keys[kept:]), 0
        for seconds, record in ended:
            while record.unscored is None and waiting and sent < answered + together:
                bar.prompt_sent(waiting.popleft())
                sent += 1
            answered += record.unscored is None
            clock.seconds = 130.0 + seconds
            bar.sample_ended(record)
    return file.getvalue().splitlines()


def test_the_first_sample_shows_how_long_the_others_take(clock: Clock, sample: SampleRecord) -> None:
    lines = watch(clock, plan(4096, samples=31), [(2.0, sample)])
    assert lines == ["first answer after 2.0 s; about 1 min 00 s for the other 30"]


def test_the_first_error_is_shown_and_all_are_counted(
    clock: Clock, sample: SampleRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOG_LINES", 1.0)
    failed = replace(sample, score=None, error="the server\nis gone")
    lines = watch(clock, plan(4096, samples=9), [(2.0, sample), (2.1, failed), (2.2, failed), (9.0, sample)])
    assert lines[1] == f"error of {sample.id}: the server is gone"
    assert lines[2:] == ["4 of 9 samples, 2 errored, 1,820 tokens/s, score 100.0 so far, about 11 s left"]


def test_longer_samples_are_expected_to_take_longer(clock: Clock, sample: SampleRecord) -> None:
    lines = watch(clock, plan(4096, 65536), [(2.0, sample)])
    assert lines == ["first answer after 2.0 s; about 32 s for the other 1"]


def test_prompts_that_are_read_before_the_first_answer_count_as_far_as_they_are(
    clock: Clock, sample: SampleRecord
) -> None:
    mostly_prefill = replace(sample, prefill_seconds=9.0, decode_seconds=1.0)
    lines = watch(clock, plan(4096, samples=13), [(80.0, mostly_prefill)], together=8)
    # 8 of 13 prompts are read and 1 of 13 answers given: 0.9 * 8 / 13 + 0.1 * 1 / 13 = 56 % are done.
    assert lines == ["first answer after 80.0 s; about 1 min 02 s for the other 12"]


def test_a_single_sample_needs_no_estimate(clock: Clock, sample: SampleRecord) -> None:
    assert watch(clock, plan(4096), [(2.0, sample)]) == []


def test_kept_samples_are_reported_and_not_counted_as_work(clock: Clock, sample: SampleRecord) -> None:
    lines = watch(clock, plan(4096, samples=5), [(10.0, sample)], kept=3)
    assert lines == [
        "3 of 5 samples are stored already; 2 to run",
        "first answer after 10.0 s; about 10 s for the other 1",
    ]


def test_a_log_gets_a_line_a_minute(clock: Clock, sample: SampleRecord) -> None:
    lines = watch(clock, plan(4096, samples=200), [(20.0 * i, sample) for i in range(1, 10)])
    assert [line.partition(",")[0] for line in lines[1:]] == ["5 of 200 samples", "9 of 200 samples"]
    assert lines[1] == "5 of 200 samples, 205 tokens/s, score 100.0 so far, about 1 h 05 min left"


def test_samples_without_a_requested_length_count_alike(clock: Clock, sample: SampleRecord) -> None:
    lines = watch(clock, plan(0, samples=3), [(5.0, replace(sample, ctx=0))])
    assert lines[0].endswith("about 10 s for the other 2")


def test_samples_that_cannot_be_asked_say_nothing_about_the_time(clock: Clock, sample: SampleRecord) -> None:
    unscored = replace(sample, unscored="it does not fit", prompt_tokens=0, completion_tokens=0)
    lines = watch(clock, plan(4096, samples=4), [(0.0, unscored), (2.0, sample), (2.0, unscored), (4.0, sample)])
    assert lines == ["first answer after 2.0 s; about 4 s for the other 2"]


def test_on_a_terminal_a_bar_shows_rate_and_time_left(sample: SampleRecord) -> None:
    file = io.StringIO()
    console = Console(file=file, width=160, force_terminal=True, color_system=None)
    with ProgressBar(console) as bar:
        bar.started(plan(4096, samples=3), plan(4096, samples=3).keys)
        bar.prompt_sent(plan(4096).keys[0])
        bar.sample_ended(replace(sample, task="[red]vt[/red]\x1b[2J"))
    last = file.getvalue().rsplit("\r", 1)[-1]
    assert re.search(r"\[red\]vt\[/red\]\\x1b\[2J @ 4,096 .* 1/3 score 100.0 [\d,]+ tokens/s 0:00:00 \d+ s left", last)


@pytest.mark.parametrize("width", [60, 90, 200])
def test_a_narrow_terminal_has_what_matters_on_one_line(sample: SampleRecord, width: int) -> None:
    file = io.StringIO()
    with ProgressBar(Console(file=file, width=width, force_terminal=True, color_system=None)) as bar:
        bar.started(plan(4096, samples=300), plan(4096, samples=300).keys)
        bar.prompt_sent(plan(4096).keys[0])
        bar.sample_ended(replace(sample, task="niah_multikey_1", ctx=65536))
    last = file.getvalue().rsplit("\r", 1)[-1].splitlines()[0]
    assert "niah_multikey_1 @ 65,536" in last
    assert "1/300 score 100.0" in last
    assert ("tokens/s" in last, "━" in last) == (width >= 80, width >= 110)
    assert "left" in last


def test_the_score_so_far_is_of_answers_that_can_be_right(clock: Clock, sample: SampleRecord) -> None:
    wrong, loss = replace(sample, score=0.0), replace(sample, metric="bits_per_byte", score=7.0)
    ended = [(float(70 * number), one) for number, one in enumerate((sample, wrong, loss), start=1)]
    lines = watch(clock, plan(4096, samples=9), ended)
    assert [line.split(", ")[-2] for line in lines[1:]] == ["score 50.0 so far"] * 2


def test_a_long_prompt_is_seen_to_move(clock: Clock) -> None:
    file = io.StringIO()
    asked = plan(65536)
    with ProgressBar(Console(file=file, width=200)) as bar:
        bar.started(asked, asked.keys)
        report(Activity("first prompt: kernels are compiled"))
        bar.prompt_sent(asked.keys[0])
        for part in range(1, 8):
            clock.seconds += 20.0
            report(Activity("prefill", part * 8192, 65000))
    report(Activity("prefill", 1, 2))
    assert file.getvalue().splitlines() == [
        "first prompt: kernels are compiled …",
        "prefill 32,768 of 65,000 tokens, 80 s so far",
    ]


def test_each_phase_before_the_first_prompt_is_named_once() -> None:
    file = io.StringIO()
    with Phases(Console(file=file, width=200)):
        for activity in (Activity("loading the model"), Activity("prefill", 1, 2), Activity("preflight")):
            report(activity)
            report(activity)
    assert file.getvalue().splitlines() == ["loading the model …", "preflight …"]


def test_a_terminal_shows_the_phase_and_nothing_is_left_of_it() -> None:
    file = io.StringIO()
    with Phases(Console(file=file, width=80, force_terminal=True, color_system=None)):
        report(Activity("loading the model"))
    assert "loading the model 0:00:00" in file.getvalue()
    assert file.getvalue().rstrip().endswith(("\x1b[2K", "\x1b[?25h"))


def test_a_log_that_wants_colours_gets_no_bar(
    clock: Clock, sample: SampleRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    lines = watch(clock, plan(4096, samples=31), [(2.0, sample)])
    assert lines == ["first answer after 2.0 s; about 1 min 00 s for the other 30"]


def test_a_run_on_a_terminal_ends_with_its_bar_full(tmp_path: Path) -> None:
    file = io.StringIO()
    with ProgressBar(Console(file=file, width=120, force_terminal=True, color_system=None)) as bar:
        run_in(tmp_path, TinySuite(samples=2), observer=bar)
    assert "2/2" in file.getvalue().rsplit("\r", 1)[-1]
