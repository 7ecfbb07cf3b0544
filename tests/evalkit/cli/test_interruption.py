"""A run may be stopped in any way at any moment; continued, it ends as if nothing had been."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from evalkit.running.store import read_run, read_samples
from tests.conftest import REPOSITORY

SAMPLES = 40
SECONDS = 0.02


def start(folder: Path, *arguments: str, seconds: float = SECONDS) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.evalkit.cli.scripted_command", "--out", str(folder / "run")]
    command += ["--samples", str(SAMPLES), "--seconds", str(seconds), "--asked", str(folder / "asked"), *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_samples(folder: Path, number: int) -> None:
    deadline = time.monotonic() + 30
    while len(read_samples(folder / "run")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def asked(folder: Path) -> Counter[str]:
    return Counter((folder / "asked").read_text().split())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with start(folder) as process:
        assert process.wait(60) == 0, process.communicate()
    return folder


def test_ten_kills_at_random_moments_change_nothing(tmp_path: Path, uninterrupted: Path) -> None:
    # From the interpreter's start over the opening of the folder to the middle of the samples.
    moments = random.Random(7)
    killed = 0
    for _ in range(10):
        with start(tmp_path, "--resume") as process:
            time.sleep(moments.uniform(0.1, 0.6))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            process.communicate()
    with start(tmp_path, "--resume") as process:
        output = process.communicate(timeout=60)
    assert process.returncode == 0, output

    assert killed >= 8
    interrupted, expected = read_run(tmp_path / "run"), read_run(uninterrupted / "run")
    assert interrupted.results == expected.results
    assert interrupted.summary == expected.summary
    answers = [
        {record.id: (record.prediction, record.score) for record in read_samples(f / "run")}
        for f in (tmp_path, uninterrupted)
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == SAMPLES
    # One request is in flight at a time, so each kill can cost one repetition at most.
    assert asked(tmp_path).total() - SAMPLES <= killed


def test_ctrl_c_says_how_to_continue_and_exits_130(tmp_path: Path, uninterrupted: Path) -> None:
    with start(tmp_path) as process:
        wait_for_samples(tmp_path, 3)
        process.send_signal(signal.SIGINT)
        output, notes = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in notes
    assert notes.splitlines()[-1].startswith("stopped; continue with: evalkit --out ")
    assert notes.splitlines()[-1].endswith(" --resume")
    before = len(read_samples(tmp_path / "run"))
    assert 3 <= before < SAMPLES

    with start(tmp_path, "--resume") as process:
        _, notes = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"{before} of {SAMPLES} samples were finished before; {SAMPLES - before} to go" in notes
    assert read_run(tmp_path / "run").results == read_run(uninterrupted / "run").results
    assert asked(tmp_path).total() <= SAMPLES + 1


def test_a_second_process_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with start(tmp_path, seconds=0.5) as first:
        wait_for_samples(tmp_path, 1)
        with start(tmp_path, "--resume") as second:
            _, notes = second.communicate(timeout=30)
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert notes.splitlines()[-1].endswith("is in use by another process; wait for it or choose another --out")
