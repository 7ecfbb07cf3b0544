"""`evalkit gate` as CI runs it: the exit code is the verdict."""

import json
from pathlib import Path

import pytest

from tests.evalkit.cli.test_compare import run_command
from tests.evalkit.run_factory import RunSpec, changed, write_run

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
    assert "::error title=gate%3A ruler@4096 max_drop%3A 1::" in shown.err
    assert '<testsuites tests="1" failures="1">' in Path("out/gate.xml").read_text()
    assert (runs / "summary.md").read_text() == "before\n" + Path("out/gate.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("base",), "NEW is missing"),
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


def test_a_record_that_disagrees_with_its_samples_cannot_be_compared(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs / "worse" / "run.json"
    record = json.loads(path.read_text())
    record["results"][0]["value"] = 100.0
    path.write_text(json.dumps(record))
    assert run_command(monkeypatch, "gate", "base", "worse") == 2
    assert "worse: run.json disagrees with its own samples.jsonl" in capsys.readouterr().err
