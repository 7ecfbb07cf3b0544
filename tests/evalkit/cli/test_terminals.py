"""Tables and help are whole on terminals of any width, and in locales that know only ASCII."""

from pathlib import Path

import pytest

from tests.evalkit.run_factory import RunSpec, write_run
from tests.support import Evalkit, run_python

SPEC = RunSpec({(task, ctx): [1.0, 0.0, 1.0, 1.0] for task in ("vt", "cwe") for ctx in (4096, 8192, 16384, 32768)})
UNUSABLE = ("0", "1", "39", "-3", "wide", "1" + "0" * 20)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
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
    runs: Path, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    expected = evalkit(command).out
    assert all(text in expected for text in COMMANDS[command])
    for columns in UNUSABLE:
        monkeypatch.setenv("COLUMNS", columns)
        assert evalkit(command).out == expected


@pytest.mark.parametrize("columns", ["40", "60", "9999"])
def test_a_width_that_is_requested_loses_no_figure(
    runs: Path, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for command in ("show base", "compare base new", "leaderboard base new"):
        shown = evalkit(command).out
        assert shown.count("75.0") >= 4
        assert "32,768" in shown


@pytest.mark.parametrize("command", ["show base", "compare base new", "leaderboard base new", "ruler --help"])
def test_a_locale_of_ascii_is_enough(runs: Path, command: str) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    done = run_python("-m", "evalkit", *command.split(), folder=runs, **locale)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.isascii()
    assert all(text in done.stdout for text in COMMANDS[command])
