"""`evalkit mmlu` as it is typed, and its records in compare, gate and leaderboard."""

from pathlib import Path

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.cli.shared.stored_runs import open_run
from evalkit.records import Counts
from tests.evalkit.scripts import write_script
from tests.suites.mmlu.small_data import write_mmlu
from tests.support import Evalkit

PREFERS = {"first": 0, "second": 1}
"""Which letter a model always finds most probable; of every four questions one has it as its answer."""


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> None:
    """The folder `mmlu` with two subjects of six and two questions, and both models."""
    for model, preferred in PREFERS.items():
        write_script(tmp_path / model, {"prefer": preferred}, identity={"path": model})
    write_mmlu(tmp_path / "mmlu", ["virology"], test=6)
    write_mmlu(tmp_path / "mmlu", ["sociology"], test=2)


VIROLOGY = "mmlu --data mmlu --out run --model scripted:first --subjects virology"
BOTH = f"{VIROLOGY},sociology"


def test_a_run(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    # Wide enough for the longest cell, independent of the terminal of the test run.
    monkeypatch.setenv("COLUMNS", "200")
    captured = evalkit(BOTH)
    assert captured.err.startswith("mmlu: 2 subjects, all questions, 5-shot mc, model scripted:first\n")
    shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in captured.out.splitlines() if "│" in line]
    rows = {row[0]: row[1:] for row in shown}
    assert rows["all questions alike (micro)"] == ["25.0", "37.5 [8.5, 75.5] (not all of MMLU: 2 subjects)", "8"]
    assert rows["all subjects alike (macro)"][:2][0] == "25.0"
    assert rows["virology"] == ["25.0", "33.3 [4.3, 77.7]", "6"]
    assert "not significantly different from chance (25.0; interval [8.5, 75.5])" in captured.out
    assert "2 parts (mmlu, sha256 of them all" in captured.out
    record = load_run(Path("run")).record
    assert (record.suite, record.dialect, record.summary[0].by_sample) == ("mmlu", "5-shot mc", True)
    assert record.failures == {"wrong_choice": 5}
    Path("run/run.json").unlink()
    assert open_run(Path("run")).record.results == record.results


def test_subjects_can_be_added_to_a_run(evalkit: Evalkit) -> None:
    evalkit(VIROLOGY)
    evalkit(f"{BOTH} --resume")
    run = load_run(Path("run"))
    assert run.record.counts.n == 8
    assert {sample.session for sample in run.samples.values() if sample.task == "virology"} == {1}


def test_it_is_continued_with_more_questions_and_not_with_other_ones(evalkit: Evalkit) -> None:
    evalkit(f"{BOTH} --samples 1")
    evalkit(f"{BOTH} --resume")
    assert load_run(Path("run")).record.counts.n == 8
    assert "dialect: 5-shot mc -> 2-shot mc" in evalkit.refuses(f"{BOTH} --resume --shots 2")


def test_questions_beyond_the_trained_length_are_named(evalkit: Evalkit) -> None:
    identity = {"trained_length": 300, "positions": {"kind": "rope", "description": "RoPE θ=10000"}}
    write_script(Path("first"), {"prefer": 0}, identity=identity)
    path = Path("mmlu/test/virology_test.csv")
    path.write_text(path.read_text().replace("test, number 4", "test, number 4" + " or more" * 200))
    assert "Unscored: virology: question 4 of virology: it takes" in evalkit(f"{VIROLOGY} --shots 1").out
    assert load_run(Path("run")).record.counts == Counts(n=6, errors=0, unscored=1)


def test_compare_gate_and_leaderboard_take_the_mean_over_questions(evalkit: Evalkit) -> None:
    for model in PREFERS:
        evalkit(f"{BOTH} --model scripted:{model} --out runs/{model}")
    # Either model has two of the six answers 0, 1, 2, 3, 0, 1 right, and one of the two answers 0, 1.
    for option, expected in ("", (37.5, 37.5, 8)), ("--unpaired", (37.5, 37.5, 8)):
        (comparison,) = evalkit(f"compare runs/first runs/second --format json {option}").json()["comparisons"]
        (mean,) = (row for row in comparison["rows"] if row["task"] is None)
        assert (mean["base"], mean["new"], mean["n"]) == expected
    expect = "expect: {mmlu: {tasks: [sociology, virology]}}\n"
    rules = "rules: {mmlu: {max_drop: 90}, mmlu/virology: {min: 30}, mmlu/macro: {min: 41}}"
    Path("policy.yaml").write_text(expect + rules)
    evalkit("gate runs/first runs/second --policy policy.yaml")
    Path("policy.yaml").write_text(expect + "rules: {mmlu: {min: 37.6}}")
    evalkit("gate runs/first runs/second --policy policy.yaml", code=1)
    assert "37.5" in evalkit("leaderboard runs --format csv").out


BAD = {
    "subject": ("--subjects anatomie", "unknown MMLU subject 'anatomie'; did you mean 'anatomy'?"),
    "shots": ("--subjects virology --data mmlu --shots 6", "6 shots: virology has 5 dev examples"),
    "folder": ("--data nowhere", "--data nowhere: no such folder"),
    "file": ("--data mmlu --subjects anatomy", "mmlu: no file anatomy_test.csv"),
    "variant": ("--variant letters", "variant 'letters' is unknown"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line(evalkit: Evalkit, case: str) -> None:
    arguments, message = BAD[case]
    assert evalkit.refuses(f"mmlu --model scripted:first {arguments}").startswith(message)


def test_a_plan_finds_missing_questions_before_it_runs(evalkit: Evalkit) -> None:
    """The folder of one suite is wrong, and no run of the other suite has begun."""
    suites = "{track: {samples: 1}, mmlu: {data: mmlu, subjects: [anatomy]}}"
    Path("plan.yaml").write_text(f"models: ['scripted:first']\nsuites: {suites}\n")
    for option in ("--dry-run", ""):
        assert "mmlu: no file anatomy_test.csv" in evalkit.refuses("run plan.yaml", *option.split())
    assert not Path("runs").exists()


def test_a_broken_file_is_reported_with_its_line(evalkit: Evalkit) -> None:
    with Path("mmlu/test/sociology_test.csv").open("a") as file:
        file.write("Q?,a,b,c,d,\r\n")
    assert "sociology_test.csv:9: the answer is missing; write one of 0, 1, 2, 3" in evalkit.refuses(BOTH)
    assert not Path("run").exists()
