"""`evalkit efficiency` as it is typed."""

import json
from pathlib import Path

import pytest

from evalkit.cli.efficiency import spread_baseline
from tests.evalkit.analysis.test_efficiency import curve
from tests.evalkit.cli.test_compare import run_command


def test_all_paths_after_baseline_are_the_baselines() -> None:
    arguments = ["a", "b", "--baseline", "c", "d", "--metric", "ruler", "--baseline", "e"]
    assert spread_baseline(arguments) == [
        *("a", "b", "--baseline", "c", "--baseline", "d", "--metric", "ruler", "--baseline", "e")
    ]
    assert spread_baseline(["--extrapolate", "a"]) == ["--extrapolate", "a"]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    curve(tmp_path / "hybrid", "h", 2.0, 3)
    curve(tmp_path / "base", "b", 1.0, 3)
    return tmp_path


def test_report_json_and_pictures(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("efficiency", "hybrid", "--baseline", "base", "--metric", "ruler@4096")
    assert run_command(monkeypatch, *common) == 0
    assert "token efficiency by ruler@4096: the baseline's final" in capsys.readouterr().out
    assert run_command(monkeypatch, *common, "--format", "json", "--figures", "pictures") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["savings"][-1]["saving"] == pytest.approx(0.5)
    assert "wrote pictures/efficiency.png" in shown.err
    assert Path("pictures/efficiency.svg").exists()


def test_single_runs_can_be_named(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hybrids = sorted(str(path) for path in Path("hybrid").iterdir())
    bases = sorted(str(path) for path in Path("base").iterdir())
    arguments = ("efficiency", *hybrids, "--baseline", *bases, "--metric", "ruler", "--format", "json")
    assert run_command(monkeypatch, *arguments) == 0
    data = json.loads(capsys.readouterr().out)
    assert (len(data["hybrid"]), len(data["baseline"])) == (4, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hybrid", "--baseline", "base", "--metric", "mmlu"), "hold no run of mmlu, only of ruler"),
        (("hybrid", "--baseline", "absent", "--metric", "ruler"), "not a run folder"),
        (("hybrid", "--baseline", "base", "--metric", "@"), "'@' selects nothing"),
    ],
)
def test_bad_input_is_one_line(
    history: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    assert run_command(monkeypatch, "efficiency", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
