"""The GitHub action and the GitLab job run the command as it is: executed here with the tools' variables set."""

import os
import re
import subprocess
import sys
import zipfile
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
    return run_step("Judge the new run", folder, {"base": "base", "new": new}, commands)


def run_step(
    name: str, folder: Path, inputs: dict[str, str], commands: Path, context: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """One step of the action; `context` has the other expressions of its environment."""
    step = next(step for step in action()["runs"]["steps"] if step["name"] == name)
    values = {name: entry.get("default", "") for name, entry in action()["inputs"].items()} | inputs
    known = {f"inputs.{name}": value for name, value in values.items()} | (context or {})
    variables = {
        name: re.sub(r"\$\{\{ (.+?) \}\}", lambda match: known[match[1]], value) for name, value in step["env"].items()
    }
    output = {"GITHUB_OUTPUT": "output.txt", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    return run_script(step["run"], folder, {**variables, **output, "GITHUB_REPOSITORY": "lab/model"}, commands)


@pytest.fixture
def gh(folder: Path) -> Path:
    """A folder with a stand-in for GitHub's command line, which keeps its arguments and the body of a comment."""
    commands = folder / "commands"
    commands.mkdir()
    (commands / "gh").write_text(
        """#!/bin/bash
echo "$*" >> gh.log
for argument in "$@"; do
  case "$argument" in body=@*) cp "${argument#body=@}" body.md ;; esac
done
case "$*" in
  *--paginate*) [ -f body.md ] && [[ "$(head -n 1 body.md)" == "$MARKER" ]] && echo 42 ;;
  "run list"*) cat night ;;
esac
exit 0
"""
    )
    (commands / "gh").chmod(0o755)
    return commands


CONTEXT = {
    "steps.gate.outputs.outcome": "failed",
    "github.event.pull_request.number": "7",
    "github.workflow": "evalkit gate",
    "github.job": "gate",
    "github.event.pull_request.head.sha || github.sha": "abc",
    "github.server_url": "https://example.org",
    "github.repository": "lab/model",
    "github.run_id": "1",
    "github.token": "secret",
}


def test_one_comment_is_kept_up_to_date(folder: Path, gh: Path) -> None:
    step = "Comment on the pull request"
    run_action(folder, "worse")
    for _ in range(2):
        done = run_step(step, folder, {"token": "secret"}, gh, CONTEXT)
        assert done.returncode == 0, done.stderr
        marker, _, text = (folder / "body.md").read_text().partition("\n")
        assert marker == "<!-- evalkit gate of evalkit gate/gate/gate.yaml -->"
        assert text == (folder / "evalkit-gate.md").read_text()
    calls = [line for line in (folder / "gh.log").read_text().splitlines() if "--method" in line]
    assert calls[0].startswith("api --method POST repos/lab/model/issues/7/comments --field")
    assert calls[1].startswith("api --method PATCH repos/lab/model/issues/comments/42 --field")
    (folder / "evalkit-gate.md").unlink()
    run_step(step, folder, {"token": "secret"}, gh, {**CONTEXT, "steps.gate.outputs.outcome": "incomparable"})
    assert "could not judge this run (incomparable)" in (folder / "body.md").read_text()


@pytest.mark.parametrize(
    ("outcome", "state"), [("passed", "success"), ("failed", "failure"), ("incomparable", "error"), ("error", "error")]
)
def test_the_commit_has_a_status(folder: Path, gh: Path, outcome: str, state: str) -> None:
    context = {**CONTEXT, "steps.gate.outputs.outcome": outcome}
    done = run_step("Set the commit's status", folder, {"token": "secret", "status": "evalkit/ruler"}, gh, context)
    assert done.returncode == 0, done.stderr
    assert (folder / "gh.log").read_text() == (
        f"api --method POST repos/lab/model/statuses/abc --field state={state} --field context=evalkit/ruler "
        f"--field description=evalkit gate: {outcome} --field target_url=https://example.org/lab/model/actions/runs/1\n"
    )


def test_the_action_installs_evalkit_unless_it_is_there(folder: Path) -> None:
    commands = folder / "bin"
    commands.mkdir()
    for name in ("python", "evalkit"):
        (commands / name).write_text('#!/bin/sh\necho "$0 $*" >> calls\n')
        (commands / name).chmod(0o755)
    step = "Install evalkit"
    context = {"github.action_path": "/action"}
    assert run_step(step, folder, {}, commands, context).returncode == 0
    assert not (folder / "calls").exists()
    (commands / "evalkit").unlink()
    hidden = {"PATH": f"{commands}:/usr/bin:/bin"}
    for install, wanted in (("", "/action"), ("git+https://example.org/evalkit", "git+https://example.org/evalkit")):
        script = next(one for one in action()["runs"]["steps"] if one["name"] == step)["run"]
        run_shell(script, folder=folder, EVALKIT_INSTALL=install, EVALKIT_ACTION="/action", **hidden)
        assert (folder / "calls").read_text().splitlines()[-1].endswith(f"python -m pip install --quiet {wanted}")


def workflow_step(file: str, name: str) -> str:
    jobs = yaml.safe_load((REPOSITORY / "docs/ci" / file).read_text(encoding="utf-8"))["jobs"].values()
    return next(str(step["run"]) for job in jobs for step in job["steps"] if step.get("name") == name)


def test_the_workflows_fetch_the_baseline_of_the_last_night(folder: Path, gh: Path) -> None:
    fetch = workflow_step("pull-request.yml", "Fetch the baseline")
    (folder / "night").write_text("")
    refused = run_script(fetch, folder, {}, gh)
    assert refused.returncode == 1
    assert "::error::no nightly run on main has succeeded yet" in refused.stdout
    (folder / "night").write_text("99\n")
    assert run_script(fetch, folder, {}, gh).returncode == 0
    last = (folder / "gh.log").read_text().splitlines()[-1]
    assert last == "run download 99 --name evalkit-baseline --dir runs/baseline"


def test_the_workflows_use_the_actions_inputs_and_options_that_exist() -> None:
    text = (REPOSITORY / "docs/ci/pull-request.yml").read_text(encoding="utf-8")
    (used,) = (
        step["with"]
        for step in yaml.safe_load(text)["jobs"]["gate"]["steps"]
        if step.get("uses", "").startswith("OWNER/evalkit")
    )
    assert set(used) <= set(action()["inputs"])
    ruler = workflow_step("pull-request.yml", "Evaluate")
    assert re.findall(r"--[a-z-]+", ruler) == ["--ctx", "--model", "--out", "--resume"]


def test_the_nightly_workflow_runs_a_plan_and_ranks_all_nights(folder: Path) -> None:
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "nightly.yaml").write_text(
        "models: ['scripted:answers.jsonl']\nsuites: {ruler: {ctx: [512], samples: 1, tasks: [niah_single_1]}}\n"
    )
    (folder / "evaluation" / "answers.jsonl").write_text('{"text": "1"}\n')
    script = "\n".join(workflow_step("nightly.yml", name) for name in ("Evaluate", "Rank all nights"))
    summary = str(folder / "night.md")
    done = run_script(
        script, folder, {"HOME": str(folder), "GITHUB_RUN_ID": "5", "GITHUB_STEP_SUMMARY": summary, **OFFLINE}
    )
    assert done.returncode == 0, done.stderr
    assert "# Leaderboard" in Path(summary).read_text()


OFFLINE = {"HF_HUB_OFFLINE": "1"}


def test_the_shell_script_evaluates_and_judges(folder: Path) -> None:
    commands = folder / "commands"
    commands.mkdir()
    (commands / "evalkit").write_text('#!/bin/sh\necho "$*" >> calls\n[ "$1" = ruler ] || exit 1\n')
    (commands / "evalkit").chmod(0o755)
    script = (REPOSITORY / "docs/ci/gate.sh").read_text(encoding="utf-8")
    assert run_script(script, folder, {}, commands).returncode != 0
    done = run_script(script, folder, {"CHECKPOINT": "./model", "BASELINE": "base"}, commands)
    assert done.returncode == 1, "the code of the gate"
    assert (folder / "calls").read_text().splitlines() == [
        "ruler --ctx 4096,65536 --model ./model --out runs/new --resume",
        "gate --policy gate.yaml --junit evalkit-gate.xml --markdown evalkit-gate.md -- base runs/new",
    ]


@pytest.mark.parametrize(("new", "code", "outcome"), OUTCOMES)
def test_the_gitlab_job_judges(folder: Path, new: str, code: int, outcome: str) -> None:
    jobs = yaml.safe_load((REPOSITORY / "docs/ci/gitlab.yml").read_text(encoding="utf-8"))
    variables, job = jobs["variables"], jobs["evalkit-gate"]
    install, fetch, unpack, judge = job["script"]
    assert install.startswith("python -m pip install")
    assert run_script(f"pip() {{ :; }}\n{install.replace('python -m ', '')}", folder, variables).returncode != 0
    with zipfile.ZipFile(folder / "artifacts.zip", "w") as archive:
        for file in (folder / "base").iterdir():
            archive.write(file, f"runs/baseline/model/ruler/{file.name}")
    (folder / "runs").mkdir()
    (folder / new).rename(folder / "runs" / "new")
    curl = 'curl() { echo "${@: -1}" > url; cp artifacts.zip baseline.zip; }'
    api = {"CI_JOB_TOKEN": "t", "CI_API_V4_URL": "https://g/api", "CI_PROJECT_ID": "3", "CI_DEFAULT_BRANCH": "main"}
    done = run_script("\n".join((curl, fetch, unpack, judge)), folder, {**variables, **api})
    assert (folder / "url").read_text() == (
        "https://g/api/projects/3/jobs/artifacts/main/download?job=evalkit-nightly\n"
    )
    assert done.returncode == code, (outcome, done.stderr)
    assert (folder / job["artifacts"]["reports"]["junit"]).exists() == (code < 2)
