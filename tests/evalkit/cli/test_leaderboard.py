"""`evalkit leaderboard` as it is typed."""

import json
from pathlib import Path

import pytest

from tests.evalkit.lm_eval_results import LM_EVAL
from tests.evalkit.run_factory import RunSpec, write_run
from tests.support import Evalkit


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, right in (("good", 45), ("poor", 10)):
        scores = {("vt", 4096): [1.0] * right + [0.0] * (50 - right)}
        write_run(tmp_path / "runs" / name, RunSpec(scores, model=name, weights=name))
    (tmp_path / "lm_eval.json").write_text(json.dumps(LM_EVAL))
    return tmp_path


def test_every_format(runs: Path, evalkit: Evalkit) -> None:
    shown = evalkit("leaderboard runs lm_eval.json").out
    assert "Ranked by ruler@4096" in shown
    assert "By lm-eval 0.4.13" in shown
    for suffix, found in (
        (".md", "| 1 | good"),
        (".html", "<td>good"),
        (".csv", "Models,1,good"),
        (".json", '"boards"'),
    ):
        evalkit("leaderboard runs lm_eval.json -o", f"board{suffix}")
        assert found in (runs / f"board{suffix}").read_text(), suffix
    evalkit("leaderboard runs/poor runs/good -o again.md")
    evalkit("leaderboard runs -o board.md")
    assert (runs / "again.md").read_bytes() == (runs / "board.md").read_bytes()


def test_results_of_other_tools_alone_have_no_empty_table_above_them(runs: Path, evalkit: Evalkit) -> None:
    shown = evalkit("leaderboard lm_eval.json --format markdown").out
    assert [line for line in shown.splitlines() if line.startswith("## ")] == ["## By lm-eval 0.4.13"]


@pytest.mark.parametrize("format", ["terminal", "markdown", "html", "csv"])
def test_checkpoints_of_one_hub_model_are_columns_of_their_own(runs: Path, evalkit: Evalkit, format: str) -> None:
    for step, acc in (("step1000", 0.31), ("step2000", 0.47)):
        beside = {"config": {"model_args": f"pretrained=lab/m,revision={step}"}, "model_name": "lab/m"}
        data = {"results": {"arc_easy": {"acc,none": acc}}, "lm_eval_version": "0.4.9", **beside}
        (runs / f"{step}.json").write_text(json.dumps(data))
    shown = evalkit("leaderboard step1000.json step2000.json --format", format).out
    for part in ("lab/m@", "step1000", "step2000", "31", "47"):
        assert part in shown, part


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("absent", "not a run folder"),
        ("runs -o board.xlsx", "the suffix does not say how to write it; use .md, .html, .csv, .json, .txt"),
        ("runs -o absent/board.md", "absent/board.md cannot be written: No such file or directory"),
        ("runs --rank-by rular@4096", "no column 'rular@4096' to rank by; did you mean 'ruler@4096'?"),
        ("runs/good runs/good/samples.jsonl", "is not a run record"),
        ("absent.json", "absent.json cannot be read"),
    ],
)
def test_bad_input_is_one_line(runs: Path, evalkit: Evalkit, arguments: str, said: str) -> None:
    assert said in evalkit.refuses(f"leaderboard {arguments}")
