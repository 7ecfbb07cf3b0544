"""The GitHub action and the GitLab job run the command as it is: executed here with the tools' variables set."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.evalkit.run_factory import RunSpec, changed, write_run
from tests.support import REPOSITORY, run_shell

SPEC = RunSpec({("vt", 4096): [1.0] * 40})
OUTCOMES = [("base", 0, "passed"), ("worse", 1, "failed"), ("olmes", 2, "incomparable")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "base", SPEC)
    write_run(tmp_path / "worse", changed(SPEC, {("vt", 4096): [0.0] * 40}))
    write_run(tmp_path / "olmes", changed(SPEC, SPEC.scores, dialect="olmes"))
    (tmp_path / "gate.yaml").write_text("rules: {ruler@4096: {max_drop: 1.0}}")
    return tmp_path


def run_script(
    script: str, folder: Path, variables: dict[str, str], commands: Path = Path(sys.executable).parent
) -> "subprocess.CompletedProcess[str]":
    return run_shell(script, folder=folder, PATH=f"{commands}:{os.environ['PATH']}", **variables)


def action() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
    return loaded


def test_every_input_of_the_action_is_used_and_described() -> None:
    text = (REPOSITORY / "action.yml").read_text(encoding="utf-8")
    inputs = action()["inputs"]
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(inputs)
    assert all(entry["description"] for entry in inputs.values())


def test_no_input_stands_inside_a_script() -> None:
    assert not any("${{" in step.get("run", "") for step in action()["runs"]["steps"])


@pytest.mark.parametrize(("new", "code", "outcome"), OUTCOMES)
def test_the_action_judges(folder: Path, new: str, code: int, outcome: str) -> None:
    done = run_action(folder, new)
    assert done.returncode == code, done.stderr
    assert (folder / "output.txt").read_text() == f"outcome={outcome}\n"
    assert (folder / "evalkit-gate.xml").exists() == (code < 2)
    assert (folder / "summary.md").exists() == (code < 2)
    assert ("::error" in done.stdout) == (code == 1)


@pytest.mark.parametrize("code", [70, 130, 141])
def test_an_error_of_evalkit_is_not_a_failed_check(folder: Path, code: int) -> None:
    command = folder / "bin" / "evalkit"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexit {code}\n")
    command.chmod(0o755)
    assert run_action(folder, "base", command.parent).returncode == code
    assert (folder / "output.txt").read_text() == "outcome=error\n"


def run_action(
    folder: Path, new: str, commands: Path = Path(sys.executable).parent
) -> "subprocess.CompletedProcess[str]":
    """The action's judging step, with the commands in `commands`."""
    step = next(step for step in action()["runs"]["steps"] if step.get("id") == "gate")
    values = {name: entry.get("default", "") for name, entry in action()["inputs"].items()} | {
        "base": "base",
        "new": new,
    }
    variables = {
        name: re.sub(r"\$\{\{ inputs\.([a-z]+) \}\}", lambda match: values[match[1]], value)
        for name, value in step["env"].items()
    }
    output = {"GITHUB_OUTPUT": "output.txt", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    return run_script(step["run"], folder, {**variables, **output}, commands)


@pytest.mark.parametrize(("new", "code", "outcome"), OUTCOMES)
def test_the_gitlab_job_judges(folder: Path, new: str, code: int, outcome: str) -> None:
    (job,) = yaml.safe_load((REPOSITORY / "docs/ci/gitlab.yml").read_text(encoding="utf-8")).values()
    install, judge = job["script"]
    assert install.startswith("python -m pip install")
    assert run_script(f"pip() {{ :; }}\n{install.replace('python -m ', '')}", folder, job["variables"]).returncode != 0
    done = run_script(judge, folder, {**job["variables"], "EVALKIT_BASE": "base", "EVALKIT_NEW": new})
    assert done.returncode == code, (outcome, done.stderr)
    assert (folder / job["artifacts"]["reports"]["junit"]).exists() == (code < 2)
