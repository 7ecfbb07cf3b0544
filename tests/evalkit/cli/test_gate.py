"""`evalkit gate` as CI runs it: the exit code is the verdict."""

import json
from pathlib import Path

import pytest

from tests.evalkit.run_factory import ERRORED, RunSpec, changed, write_run
from tests.support import Evalkit

SPEC = RunSpec({("vt", 4096): [1.0] * 40, ("cwe", 4096): [1.0] * 40})


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write_run(tmp_path / "base", SPEC)
    write_run(tmp_path / "worse", changed(SPEC, {**SPEC.scores, ("vt", 4096): [0.0] * 20 + [1.0] * 20}))
    (tmp_path / "gate.yaml").write_text("rules: {ruler@4096: {max_drop: 1.0}}")
    return tmp_path


def test_pass_and_fail(runs: Path, evalkit: Evalkit) -> None:
    assert evalkit("gate base base").out.startswith("gate PASSED: 1 passed\n")
    assert evalkit("gate base worse", code=1).out.startswith("gate FAILED: 1 failed\n")


def test_a_policy_written_from_the_baseline(runs: Path, evalkit: Evalkit) -> None:
    assert "wrote ci/new.yaml" in evalkit("gate --init base --policy ci/new.yaml").out
    evalkit("gate base base --policy ci/new.yaml")
    evalkit("gate base worse --policy ci/new.yaml", code=1)
    assert "gate.yaml exists already" in evalkit.refuses("gate --init base")
    assert "leave worse out" in evalkit.refuses("gate --init base worse --policy other.yaml")


def test_a_policy_needs_samples(runs: Path, evalkit: Evalkit) -> None:
    write_run(runs / "few", RunSpec({("vt", 4096): [1.0] * 2}))
    assert evalkit.refuses("gate --init few --policy few.yaml") == (
        "few has too few samples for any rule; make a baseline of 39 samples per task and length"
    )


def test_all_outputs_at_once(runs: Path, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    (runs / "summary.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(runs / "summary.md"))
    options = "--junit out/gate.xml --markdown out/gate.md --github --format json"
    shown = evalkit(f"gate base worse {options}", code=1)
    assert shown.json()["verdicts"][0]["outcome"] == "fail"
    assert "::error title=gate (critical)%3A ruler@4096 max_drop%3A 1::" in shown.err
    assert '<testsuites tests="1" failures="1">' in Path("out/gate.xml").read_text()
    assert (runs / "summary.md").read_text() == "before\n" + Path("out/gate.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "BASE is missing"),
        ("base", "NEW is missing"),
        ("base base --samples 5", "--samples is an option of --explain"),
        ("--explain gate.yaml --junit x.xml", "--junit cannot be combined with --explain"),
        ("--explain gate.yaml --policy gate.yaml", "--policy cannot be combined with --explain"),
        ("--explain gate.yaml", "--samples is missing"),
        ("base base --explain gate.yaml --changed 5", "--changed is an assumption"),
        ("base absent", "not a run folder"),
        ("base base --policy absent.yaml", "policy absent.yaml cannot be read"),
        ("base base --junit gate.yaml/x.xml", "cannot be written"),
        ("base base --markdown base", "base cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_2(runs: Path, evalkit: Evalkit, arguments: str, said: str) -> None:
    shown = evalkit(f"gate {arguments}", code=2)
    assert said in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("sides", ["", "base", "base worse"])
def test_what_a_policy_can_decide(runs: Path, evalkit: Evalkit, sides: str) -> None:
    shown = evalkit(f"gate {sides} --explain gate.yaml --samples 100").out
    assert shown.startswith("what gate.yaml can decide\n")
    assert "per task and length, so that a run without a drop shows with 80 % power" in shown
    assert ("as many answers differ between two equal runs as between BASE and NEW" in shown) == (sides == "base worse")
    explanation = evalkit(f"gate {sides} --explain gate.yaml --samples 9 --format json").json()
    # RULER has thirteen tasks, and these runs have two of them.
    assert [check["pairs"] for check in explanation["checks"]] == [18 if sides else 117]


def test_the_assumed_share_of_changed_answers(runs: Path, evalkit: Evalkit) -> None:
    explain = "gate --explain gate.yaml --samples 100 --format json --changed"
    few, many = (evalkit(explain, percent).json()["checks"][0]["detectable"] for percent in ("2", "40"))
    assert few < many / 2


def test_a_baseline_without_a_score_in_some_row_gives_no_policy(runs: Path, evalkit: Evalkit) -> None:
    write_run(runs / "lost", changed(SPEC, {**SPEC.scores, ("vt", 4096): [ERRORED] * 3}))
    assert "lost: no sample of vt at 4096 has a score, so it is not a baseline" in evalkit.refuses(
        "gate --init lost --policy lost.yaml"
    )
    write_run(runs / "flaky", changed(SPEC, {**SPEC.scores, ("vt", 4096): [ERRORED] + [1.0] * 39}))
    evalkit("gate --init flaky --policy flaky.yaml")
    assert "\nmax_unscored: 2.5%  # some of the baseline's samples errored" in Path("flaky.yaml").read_text()
    evalkit("gate flaky flaky --policy flaky.yaml")


def test_a_record_that_disagrees_with_its_samples_cannot_be_compared(runs: Path, evalkit: Evalkit) -> None:
    path = runs / "worse" / "run.json"
    record = json.loads(path.read_text())
    record["results"][0]["value"] = 100.0
    path.write_text(json.dumps(record))
    assert "worse: run.json disagrees with its own samples.jsonl" in evalkit.refuses("gate base worse")
