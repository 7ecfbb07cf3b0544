"""`evalkit efficiency` as it is typed."""

from pathlib import Path

import pytest

from evalkit.cli.efficiency import spread_baseline
from tests.evalkit.learning_curves import curve
from tests.support import Evalkit


def test_all_paths_after_baseline_are_the_baselines() -> None:
    arguments = ["a", "b", "--baseline", "c", "d", "--metric", "ruler", "--baseline", "e"]
    assert spread_baseline(arguments) == [
        *("a", "b", "--baseline", "c", "--baseline", "d", "--metric", "ruler", "--baseline", "e")
    ]
    assert spread_baseline(["--extrapolate", "a"]) == ["--extrapolate", "a"]


@pytest.fixture
def history(tmp_path: Path) -> None:
    curve(tmp_path / "hybrid", "h", 2.0, 3)
    curve(tmp_path / "base", "b", 1.0, 3)


@pytest.mark.usefixtures("history")
def test_report_json_and_pictures(evalkit: Evalkit) -> None:
    common = "efficiency hybrid --baseline base --metric ruler@4096"
    assert "token efficiency by ruler@4096: the baseline's final" in evalkit(common).out
    shown = evalkit(f"{common} --format json --figures pictures")
    assert shown.json()["savings"][-1]["saving"] == pytest.approx(0.5)
    assert "wrote pictures/efficiency.png" in shown.err
    assert Path("pictures/efficiency.svg").exists()


@pytest.mark.usefixtures("history")
def test_one_training_run_alone_is_a_line_over_its_tokens(evalkit: Evalkit) -> None:
    common = "efficiency hybrid --metric ruler@4096"
    shown = evalkit(common).out
    assert "ruler@4096 is " in shown.splitlines()[1]
    assert evalkit(f"{common} --format json").json()["points"][0]["tokens"] > 0
    page = evalkit(f"{common} --format html").out
    assert "ruler@4096 over training" in page
    assert "training tokens" in page
    assert "--extrapolate has a meaning only with --baseline" in evalkit.refuses(f"{common} --extrapolate")
    one = sorted(Path("hybrid").iterdir())[0]
    assert "there are 1 checkpoints by ruler" in evalkit.refuses("efficiency --metric ruler", one)


@pytest.mark.usefixtures("history")
def test_single_runs_can_be_named(evalkit: Evalkit) -> None:
    hybrids, bases = (sorted(Path(name).iterdir()) for name in ("hybrid", "base"))
    data = evalkit("efficiency --metric ruler --format json", *hybrids, "--baseline", *bases).json()
    assert (len(data["hybrid"]), len(data["baseline"])) == (4, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--baseline base --metric mmlu", "hold no run of mmlu, only of ruler"),
        ("--baseline absent --metric ruler", "not a run folder"),
        ("--baseline base --metric @", "'@' selects nothing"),
    ],
)
@pytest.mark.usefixtures("history")
def test_bad_input_is_one_line(evalkit: Evalkit, arguments: str, said: str) -> None:
    assert said in evalkit.refuses(f"efficiency hybrid {arguments}")
