"""`evalkit run --suite lm-eval:…`, the same in a plan, and `evalkit lm-eval`, as they are typed."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.analysis.foreign_results import read_foreign
from evalkit.cli.shared.stored_runs import open_run
from suites.lm_eval_tasks import harness
from tests.evalkit.scripts import write_script
from tests.suites.lm_eval_tasks.own_tasks import write_tasks
from tests.support import Evalkit

RUN = "run --include-path tasks --model scripted:one --out run --suite"
EVALUATE = "lm-eval --include-path tasks --model scripted:one --out results.json --tasks"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    """Custom tasks, and two models that pick the first choice, score all texts alike and always give one answer."""
    for model in ("one", "two"):
        write_script(tmp_path / model, {"text": " 4\nand more", "nats": 0.5}, identity={"path": model})
    write_tasks(tmp_path / "tasks")


def test_a_run_is_stored_and_continued(evalkit: Evalkit) -> None:
    evalkit(f"{RUN} lm-eval:things --samples 2")
    shown = evalkit(f"{RUN} lm-eval:things,prose,sums --resume").out
    assert "lm-eval · one · dialect each task's own shots" in shown
    run = load_run(Path("run"))
    rows = {row.task: (row.metric, row.n, row.chance) for row in run.record.results}
    assert rows == {
        "colours": ("acc", 7, 25.0),
        "pronoun": ("acc", 5, 50.0),
        "prose": ("bits_per_byte", 4, None),
        "sums": ("exact_match", 5, None),
    }
    figures = {figure.label: figure.value for figure in run.record.figures}
    assert figures["colours/acc"] == 2 / 7
    assert figures["group/things/acc"] == (2 + 3) / 12
    # One of the five sums is 4; the stop string is cut off, and only the filter finds the digits.
    assert (figures["sums/exact_match,as-is"], figures["sums/exact_match,digits"]) == (0.0, 0.2)
    assert run.samples["sums/0/0/1234"].prediction == " 4"
    assert run.samples["colours/0/0/1234"].prediction == "red"
    assert "red" in evalkit("show run --sample colours/0/0/1234").out
    Path("run/run.json").unlink()
    rows_alone = {(row.task, row.value, row.n) for row in open_run(Path("run")).record.results}
    assert rows_alone == {(row.task, row.value, row.n) for row in run.record.results}


def test_lm_evals_evaluator_passes_warnings_on(evalkit: Evalkit) -> None:
    write_script(Path("one"), {}, warnings=["odd\nweights"])
    assert "warning: odd" in evalkit(f"{EVALUATE} sums --samples 1").err
    assert json.loads(Path("results.json").read_text())["warnings"] == ["odd\nweights"]


def test_lm_evals_evaluator_gives_the_same_numbers(evalkit: Evalkit) -> None:
    assert "exact_match" in evalkit(f"{EVALUATE} things,sums").out
    results = json.loads(Path("results.json").read_text())
    assert results["results"]["colours"]["acc,none"] == 2 / 7
    assert results["groups"]["things"]["acc,none"] == (2 + 3) / 12
    assert results["results"]["sums"]["exact_match,digits"] == 0.2
    assert results["model"] == "one"
    read_back = read_foreign(Path("results.json"))
    assert (read_back.model, read_back.dialect) == ("one", f"lm-eval {version('lm_eval')}")


def test_a_plan_may_name_them(evalkit: Evalkit) -> None:
    Path("plan.yaml").write_text(
        "models: ['scripted:one', 'scripted:two']\n"
        "suites: {'lm-eval:colours,sums': {include-path: tasks, samples: 2}}\n"
        "reports:\n"
        "- {report: compare, base: 'scripted:one', new: 'scripted:two', out: c.md}\n"
        "- {report: leaderboard, out: L.md}\n"
    )
    assert evalkit("run plan.yaml --dry-run").out.splitlines()[0] == (
        "scripted:one on lm-eval (include_path tasks; samples 2; tasks colours,sums): runs/plan/scripted-one/lm-eval"
    )
    evalkit("run plan.yaml")
    assert load_run(Path("runs/plan/scripted-two/lm-eval")).record.suite == "lm-eval"
    assert "colours" in Path("runs/plan/c.md").read_text()
    assert "finished before: runs/plan/scripted-one/lm-eval" in evalkit("run plan.yaml").err


def test_a_plan_with_a_mistyped_task_starts_no_suite(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "_all_tasks", harness._tasks_of)  # as if lm-eval had no task of its own
    Path("plan.yaml").write_text(
        "models: ['scripted:one']\nsuites: {track: {updates: 4}, 'lm-eval:colors,sums': {include-path: tasks}}\n"
    )
    for options in ("", " --dry-run"):
        assert (
            evalkit.refuses(f"run plan.yaml{options}")
            == "plan plan.yaml: lm-eval has no task 'colors'; did you mean 'colours'?"
        )
    assert not Path("runs").exists()
    assert "no task 'colors'" in evalkit(f"{RUN} lm-eval:colors", code=2).complaints[-1]


BAD = {
    "neither": ("run", "neither a plan nor --suite is named"),
    "both": ("run plan.yaml --suite lm-eval:sums", "--suite runs one suite and no plan"),
    "no suite": ("run --suite mmlo", "unknown suite 'mmlo'; did you mean 'mmlu'?"),
    "no task": ("run --suite lm-eval:", "tasks: '' names nothing"),
    "no setting": ("run --suite ruler --set ctx", "--set 'ctx': write NAME=VALUE"),
    "a setting twice": ("run --suite ruler:vt --set tasks=cwe", "tasks is given as 'vt' and as 'cwe'; leave one of"),
    "a setting and its option": ("run --suite ruler --samples 2 --set samples=1", "samples is given as 2 and as '1'"),
    "another setting": ("run --suite ruler --set ctxs=4096", "ctxs is unknown; did you mean 'ctx'?"),
    "no context": ("run --suite ruler", "ctx is missing"),
    "a model": ("run p.yaml --model scripted:one", "--model is an option of --suite; write it among the models of"),
    "a format": ("run p.yaml --format json", "--format is an option of --suite; leave it out"),
    "an option of a model": ("run p.yaml --batch 4", "--batch is an option of --suite; write it below a suite"),
    "samples": (f"{RUN} lm-eval:sums --samples 0", "0 samples: at least 1 is needed"),
    "shots": (f"{RUN} lm-eval:colours --shots 9", "9 shots: task colours has 6 examples"),
    "settings": ("run plan.yaml --set a=1", "--set is an option of --suite"),
    "results": ("lm-eval --tasks sums --out tasks", "--out tasks: not a file in an existing folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line(evalkit: Evalkit, case: str) -> None:
    line, message = BAD[case]
    assert evalkit.refuses(line).startswith(message)
