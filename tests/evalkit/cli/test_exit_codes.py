"""Exit codes of `evalkit`: 1 means only that a check did not pass."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.evalkit.run_factory import RunSpec, changed, write_run
from tests.support import run_python, run_shell, start_python

SPEC = RunSpec({("vt", 4096): [1.0] * 40})
# The command in a process of its own, with a bug in the gate.
CRASHING = """
import evalkit.analysis.gate, evalkit.cli, sys
def crash(*arguments):
    raise ZeroDivisionError("a bug\\nof two lines")
evalkit.analysis.gate.gate = crash
evalkit.cli.main()
"""
SLOW = """
import evalkit.analysis.gate, evalkit.cli, sys, time
def wait(*arguments):
    print("waiting", flush=True)
    time.sleep(60)
evalkit.analysis.gate.gate = wait
evalkit.cli.main()
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_run(tmp_path / "base", SPEC)
    write_run(tmp_path / "worse", changed(SPEC, {("vt", 4096): [0.0] * 40}))
    (tmp_path / "gate.yaml").write_text("rules: {ruler@4096: {max_drop: 1.0}}")
    return tmp_path


def shell(folder: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """A line of bash with the command as $GATE."""
    return run_shell(line, folder=folder, GATE=f"{sys.executable} -m evalkit gate")


@pytest.mark.parametrize(("new", "code"), [("base", 0), ("worse", 1), ("absent", 2)])
def test_the_verdict_is_the_exit_code(runs: Path, new: str, code: int) -> None:
    assert run_python("-m", "evalkit", "gate", "base", new, folder=runs).returncode == code


def test_a_bug_exits_70_with_its_traceback_and_one_line(runs: Path) -> None:
    done = run_python("-c", CRASHING, "gate", "base", "base", folder=runs)
    assert done.returncode == 70
    assert done.stdout == ""
    first, *_, last = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == (
        "evalkit: internal error: ZeroDivisionError: a bug of two lines; this is a bug, please report it with the "
        "lines above"
    )


@pytest.mark.parametrize(("new", "format"), [("worse", "terminal"), ("base", "markdown"), ("worse", "json")])
def test_a_reader_that_leaves_is_met_in_silence(runs: Path, new: str, format: str) -> None:
    # `true` reads nothing; the sleep lets it exit before anything is written.
    line = f"{{ sleep 0.3; exec $GATE base {new} --format {format} --junit gate.xml; }} | true; echo ${{PIPESTATUS[0]}}"
    done = shell(runs, line)
    assert (done.stdout, done.stderr) == ("141\n", "")
    assert (runs / "gate.xml").exists()


def test_head_gets_its_lines(runs: Path) -> None:
    done = shell(runs, "$GATE base base | head -n 1")
    assert (done.stdout, done.stderr) == ("gate PASSED: 1 passed\n", "")


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        (">&-", 1),
        ("2>&-", 1),
        ("--format json >/dev/full", 2),
        (">/dev/full 2>/dev/full", 2),
        ("--policy absent 2>/dev/full", 2),
        ("--policy absent 2>&-", 2),
    ],
)
def test_streams_that_cannot_be_written(runs: Path, redirection: str, code: int) -> None:
    done = shell(runs, f"$GATE base worse {redirection}")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1


def test_ctrl_c_exits_130(runs: Path) -> None:
    with start_python("-c", SLOW, "gate", "base", "base", folder=runs) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (130, "")
