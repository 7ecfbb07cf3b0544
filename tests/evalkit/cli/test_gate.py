"""`evalkit gate` as CI runs it: the exit code is the verdict."""

import json
from pathlib import Path

import pytest

from tests.evalkit.cli.test_compare import run_command
from tests.evalkit.run_factory import ERRORED, RunSpec, changed, write_run

SPEC = RunSpec({("vt", 4096): [1.0] * 40, ("cwe", 4096): [1.0] * 40})


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write_run(tmp_path / "base", SPEC)
    write_run(tmp_path / "worse", changed(SPEC, {**SPEC.scores, ("vt", 4096): [0.0] * 20 + [1.0] * 20}))
    (tmp_path / "gate.yaml").write_text("rules: {ruler@4096: {max_drop: 1.0}}")
    return tmp_path


def test_pass_and_fail(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, "gate", "base", "base") == 0
    assert capsys.readouterr().out.startswith("gate PASSED: 1 passed\n")
    assert run_command(monkeypatch, "gate", "base", "worse") == 1
    assert capsys.readouterr().out.startswith("gate FAILED: 1 failed\n")


def test_a_policy_written_from_the_baseline(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "gate", "--init", "base", "--policy", "ci/new.yaml") == 0
    assert "wrote ci/new.yaml" in capsys.readouterr().out
    assert run_command(monkeypatch, "gate", "base", "base", "--policy", "ci/new.yaml") == 0
    assert run_command(monkeypatch, "gate", "base", "worse", "--policy", "ci/new.yaml") == 1
    capsys.readouterr()
    assert run_command(monkeypatch, "gate", "--init", "base") == 2
    assert "gate.yaml is there already" in capsys.readouterr().err
    assert run_command(monkeypatch, "gate", "--init", "base", "worse", "--policy", "other.yaml") == 2
    assert "leave worse out" in capsys.readouterr().err


def test_all_outputs_at_once(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "summary.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(runs / "summary.md"))
    options = ("--junit", "out/gate.xml", "--markdown", "out/gate.md", "--github", "--format", "json")
    assert run_command(monkeypatch, "gate", "base", "worse", *options) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["verdicts"][0]["outcome"] == "fail"
    assert "::error title=gate (critical)%3A ruler@4096 max_drop%3A 1::" in shown.err
    assert '<testsuites tests="1" failures="1">' in Path("out/gate.xml").read_text()
    assert (runs / "summary.md").read_text() == "before\n" + Path("out/gate.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "BASE is missing"),
        (("base",), "NEW is missing"),
        (("base", "base", "--samples", "5"), "--samples is an option of --explain"),
        (("--explain", "gate.yaml", "--junit", "x.xml"), "--junit cannot be combined with --explain"),
        (("--explain", "gate.yaml", "--policy", "gate.yaml"), "--policy cannot be combined with --explain"),
        (("--explain", "gate.yaml"), "--samples is missing"),
        (("base", "base", "--explain", "gate.yaml", "--changed", "5"), "--changed is an assumption"),
        (("base", "absent"), "not a run folder"),
        (("base", "base", "--policy", "absent.yaml"), "policy absent.yaml cannot be read"),
        (("base", "base", "--junit", "gate.yaml/x.xml"), "cannot be written"),
        (("base", "base", "--markdown", "base"), "base cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_2(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    assert run_command(monkeypatch, "gate", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("sides", [(), ("base",), ("base", "worse")])
def test_what_a_policy_can_decide(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sides: tuple[str, ...]
) -> None:
    assert run_command(monkeypatch, "gate", *sides, "--explain", "gate.yaml", "--samples", "100") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("what gate.yaml can decide\n")
    assert "per task and length, so that a run without a drop shows with 80 % power" in shown
    assert ("two runs differ as much as BASE and NEW do here" in shown) == (len(sides) == 2)
    assert run_command(monkeypatch, "gate", *sides, "--explain", "gate.yaml", "--samples", "9", "--format", "json") == 0
    explanation = json.loads(capsys.readouterr().out)
    # RULER has thirteen tasks, and these runs have two of them.
    assert [check["pairs"] for check in explanation["checks"]] == [18 if sides else 117]


def test_the_assumed_share_of_changed_answers(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    detectable = []
    for changed_percent in ("2", "40"):
        options = ("--explain", "gate.yaml", "--samples", "100", "--changed", changed_percent, "--format", "json")
        assert run_command(monkeypatch, "gate", *options) == 0
        detectable.append(json.loads(capsys.readouterr().out)["checks"][0]["detectable"])
    assert detectable[0] < detectable[1] / 2


def test_a_baseline_without_a_score_in_some_row_gives_no_policy(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(runs / "lost", changed(SPEC, {**SPEC.scores, ("vt", 4096): [ERRORED] * 3}))
    assert run_command(monkeypatch, "gate", "--init", "lost", "--policy", "lost.yaml") == 2
    assert "lost: no sample of vt at 4096 has a score, so it is not a baseline" in capsys.readouterr().err
    write_run(runs / "flaky", changed(SPEC, {**SPEC.scores, ("vt", 4096): [ERRORED] + [1.0] * 39}))
    assert run_command(monkeypatch, "gate", "--init", "flaky", "--policy", "flaky.yaml") == 0
    assert "\nmax_unscored: 2.5%  # some of the baseline's samples errored" in Path("flaky.yaml").read_text()
    assert run_command(monkeypatch, "gate", "flaky", "flaky", "--policy", "flaky.yaml") == 0


def test_a_record_that_disagrees_with_its_samples_cannot_be_compared(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs / "worse" / "run.json"
    record = json.loads(path.read_text())
    record["results"][0]["value"] = 100.0
    path.write_text(json.dumps(record))
    assert run_command(monkeypatch, "gate", "base", "worse") == 2
    assert "worse: run.json disagrees with its own samples.jsonl" in capsys.readouterr().err
