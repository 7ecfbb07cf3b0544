"""A run may be stopped in any way at any moment; continued, it ends as if nothing had been."""

import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from evalkit.running.store import read_run, read_samples
from tests.evalkit.scripts import asked, write_script
from tests.support import start_python

SAMPLES = 40
SECONDS = 0.02
PATIENCE = 120
KILLS = 6


def start(folder: Path, *arguments: str, seconds: float = SECONDS) -> subprocess.Popen[str]:
    """Run `evalkit track` with 40 samples and a slow model."""
    # One sample in three has another answer, so that equal scores are informative.
    rules = [{"match": f"*/{index}/42", "text": "even", "wait_seconds": seconds} for index in range(0, SAMPLES, 3)]
    script = folder / "script"
    if not script.exists():
        write_script(script, *rules, {"text": "odd", "wait_seconds": seconds}, log="asked")
    command = f"-m evalkit track --tasks parity --updates 4 --shots 0 --samples {SAMPLES}".split()
    return start_python(*command, "--model", f"scripted:{script}", "--out", folder / "run", *arguments)


def wait_for_samples(folder: Path, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(read_samples(folder / "run")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with start(folder) as process:
        output = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return folder


def test_kills_at_random_moments_change_nothing(tmp_path: Path, uninterrupted: Path) -> None:
    moments = random.Random(7)
    for _ in range(KILLS):
        before = len(read_samples(tmp_path / "run"))
        # Slow enough that even a delayed kill comes before the end.
        with start(tmp_path, "--resume", seconds=0.15) as process:
            # Wait for a few samples and part of another, so that each kill comes in the middle of a run.
            wait_for_samples(tmp_path, before + moments.randrange(1, 4))
            time.sleep(moments.uniform(0, 2 * SECONDS))
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
    with start(tmp_path, "--resume") as process:
        output = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output

    interrupted, expected = read_run(tmp_path / "run"), read_run(uninterrupted / "run")
    assert interrupted.results == expected.results
    assert interrupted.summary == expected.summary
    answers = [
        {record.id: (record.prediction, record.score) for record in read_samples(folder / "run")}
        for folder in (tmp_path, uninterrupted)
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == SAMPLES
    # One request is in flight at a time, so each kill costs at most one repetition.
    assert Counter(asked(tmp_path / "asked")).total() - SAMPLES <= KILLS
    # All sessions that stored a sample are listed, the killed ones as such.
    assert sum(session.samples for session in interrupted.sessions) == SAMPLES
    ended = [session.ended for session in interrupted.sessions if session.samples]
    assert ended == [False] * KILLS + [True]


def test_ctrl_c_says_how_to_continue_and_exits_130(tmp_path: Path, uninterrupted: Path) -> None:
    # Slow enough that the interrupt arrives long before the end.
    with start(tmp_path, seconds=0.1) as process:
        wait_for_samples(tmp_path, 3)
        process.send_signal(signal.SIGINT)
        output, notes = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in notes
    assert notes.splitlines()[-1].startswith("stopped; continue with: evalkit track ")
    assert notes.splitlines()[-1].endswith(" --resume")
    before = len(read_samples(tmp_path / "run"))
    assert 3 <= before < SAMPLES

    with start(tmp_path, "--resume") as process:
        _, notes = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert f"{before} of {SAMPLES} samples are stored already; {SAMPLES - before} to run" in notes
    assert read_run(tmp_path / "run").results == read_run(uninterrupted / "run").results
    assert len(asked(tmp_path / "asked")) <= SAMPLES + 1


def test_a_second_process_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with start(tmp_path, seconds=5) as first:
        try:
            deadline = time.monotonic() + PATIENCE
            while not asked(tmp_path / "asked"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with start(tmp_path, "--resume") as second:
                _, notes = second.communicate(timeout=PATIENCE)
        finally:
            first.kill()
            first.communicate()
    assert second.returncode == 2
    assert notes.splitlines()[-1].endswith("is in use by another process; wait for it or choose another --out")
