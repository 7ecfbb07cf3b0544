"""A run may be stopped in any way at any moment; continued, it ends as if nothing had been.

Nothing here depends on how fast the machine is: the model answers a few samples and then waits, so that a process is
at work for as long as the test wants it to be.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from evalkit.running.store import SAMPLES, read_run, read_samples
from tests.conftest import REPOSITORY

SAMPLES_ASKED = 40
ANSWERED_BEFORE_WAITING = 3


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.evalkit.cli.scripted_command", "--out", str(folder / "run")]
    command += ["--samples", str(SAMPLES_ASKED), "--asked", str(folder / "asked"), *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def start_waiting(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that never ends by itself."""
    return start(folder, "--answers", str(ANSWERED_BEFORE_WAITING), *arguments)


def stored_bytes(folder: Path) -> int:
    path = folder / "run" / SAMPLES
    return path.stat().st_size if path.exists() else 0


def wait_for_growth(folder: Path, process: subprocess.Popen[str], before: int) -> None:
    """Until the process has stored something; the test's own timeout ends a wait in vain."""
    while stored_bytes(folder) <= before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def asked(folder: Path) -> Counter[str]:
    return Counter((folder / "asked").read_text().split())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with start(folder) as process:
        output = process.communicate()
    assert process.returncode == 0, output
    return folder


def test_ten_kills_change_nothing(tmp_path: Path, uninterrupted: Path) -> None:
    moments = random.Random(7)
    for kill in range(10):
        before = stored_bytes(tmp_path)
        with start_waiting(tmp_path, "--resume") as process:
            if kill % 4 == 1:
                # Its first line stands before the folder is opened.
                assert process.stderr is not None
                assert process.stderr.readline().startswith("tiny: ")
            else:
                wait_for_growth(tmp_path, process, before)
                time.sleep(moments.uniform(0, 0.02))
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert kill % 4 == 1 or stored_bytes(tmp_path) > before
    with start(tmp_path, "--resume") as process:
        output = process.communicate()
    assert process.returncode == 0, output

    interrupted, expected = read_run(tmp_path / "run"), read_run(uninterrupted / "run")
    assert interrupted.results == expected.results
    assert interrupted.summary == expected.summary
    answers = [
        {record.id: (record.prediction, record.score) for record in read_samples(f / "run")}
        for f in (tmp_path, uninterrupted)
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == SAMPLES_ASKED
    # One request is in flight at a time, so each kill can cost one repetition at most.
    assert asked(tmp_path).total() - SAMPLES_ASKED <= 10
    # All that stored a sample are listed, the killed ones as such.
    assert sum(session.samples for session in interrupted.sessions) == SAMPLES_ASKED
    *killed, last = [session for session in interrupted.sessions if session.samples]
    assert len(killed) >= 7
    assert not any(session.ended for session in killed)
    assert last.ended


def test_ctrl_c_says_how_to_continue_and_exits_130(tmp_path: Path, uninterrupted: Path) -> None:
    with start_waiting(tmp_path) as process:
        wait_for_growth(tmp_path, process, 0)
        process.send_signal(signal.SIGINT)
        output, notes = process.communicate()
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in notes
    assert notes.splitlines()[-1].startswith("stopped; continue with: evalkit --out ")
    assert notes.splitlines()[-1].endswith(" --resume")
    before = len(read_samples(tmp_path / "run"))
    assert 1 <= before <= ANSWERED_BEFORE_WAITING

    with start(tmp_path, "--resume") as process:
        _, notes = process.communicate()
    assert process.returncode == 0
    assert f"{before} of {SAMPLES_ASKED} samples were finished before; {SAMPLES_ASKED - before} to go" in notes
    assert read_run(tmp_path / "run").results == read_run(uninterrupted / "run").results
    assert asked(tmp_path).total() <= SAMPLES_ASKED + 1


def test_a_second_process_in_the_same_folder_is_refused_before_it_loads_a_model(tmp_path: Path) -> None:
    with start_waiting(tmp_path) as first:
        wait_for_growth(tmp_path, first, 0)
        with start(tmp_path, "--resume", "--loaded", str(tmp_path / "loaded")) as second:
            _, notes = second.communicate()
        assert first.poll() is None
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert notes.splitlines()[-1].endswith("is in use by another process; wait for it or choose another --out")
    assert not (tmp_path / "loaded").exists()
