"""Tables and help are whole on terminals of any width, and in locales that know only ASCII."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evalkit.cli.test_compare import run_command
from tests.evalkit.run_factory import RunSpec, write_run

SPEC = RunSpec({(task, ctx): [1.0, 0.0, 1.0, 1.0] for task in ("vt", "cwe") for ctx in (4096, 8192, 16384, 32768)})
UNUSABLE = ("0", "1", "39", "-3", "wide", "1" + "0" * 20)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "base", SPEC)
    write_run(tmp_path / "new", RunSpec(SPEC.scores, model="rés·umé", weights="new"))
    return tmp_path


COMMANDS = {
    "show base": ("75.0", "cwe"),
    "compare base new": ("75.0", "32,768"),
    "leaderboard base new": ("75.0", "32,768"),
    "models list": ("reference:transformer", "olmo_hybrid"),
    "data list": ("hotpotqa", "embedded"),
    "ruler --help": ("--ctx", "--prepare-only"),
    "--help": ("leaderboard", "Evaluate"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_width_that_nothing_fits_is_as_good_as_none(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run_command(monkeypatch, *command.split()) == 0
    expected = capsys.readouterr().out
    assert all(text in expected for text in COMMANDS[command])
    for columns in UNUSABLE:
        monkeypatch.setenv("COLUMNS", columns)
        assert run_command(monkeypatch, *command.split()) == 0
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize("columns", ["40", "60", "9999"])
def test_a_width_that_is_asked_for_loses_no_figure(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for command in ("show base", "leaderboard base new"):
        assert run_command(monkeypatch, *command.split()) == 0
        shown = capsys.readouterr().out
        assert shown.count("75.0") >= 4
        assert "32,768" in shown


@pytest.mark.parametrize("command", ["show base", "compare base new", "leaderboard base new", "ruler --help"])
def test_a_locale_of_ascii_is_enough(runs: Path, command: str) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "evalkit", *command.split()], env={**os.environ, **locale}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout.isascii()
    assert all(text.encode() in done.stdout for text in COMMANDS[command])
