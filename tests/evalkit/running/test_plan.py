"""Plans become checked runs, and errors are reported before anything runs."""

from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.running.model_options import Dtype
from evalkit.running.plan import folder_name, read_plan, shipped_plans
from evalkit.running.replicas.options import ReplicaOptions

PLAN = """
name: my plan
models: [reference:transformer, checkpoint]
suites:
  ruler: {ctx: [64K, 4096], samples: 5, skip-preflight: true, dtype: bfloat16, data: prepared}
  track:
  "lm-eval:arc_challenge,hellaswag": {shots: 0}
  extend: {ctx: 4K, before: checkpoint, margin-points: 1}
reports:
  - {report: compare, base: reference:transformer, new: checkpoint, out: c.html}
  - {report: leaderboard, out: L.md}
  - {report: gate, base: reference:transformer, new: checkpoint, policy: gate.yaml}
"""


def write(folder: Path, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "plan.yaml").write_text(text)
    return str(folder / "plan.yaml")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a plan, which is not the working directory."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("checkpoint", "prepared"):
        (tmp_path / "plans" / name).mkdir(parents=True)
    return tmp_path / "plans"


def test_a_plan_is_checked_runs_and_reports(here: Path) -> None:
    plan = read_plan(write(here, PLAN))
    assert [run.name for run in plan.runs] == [
        f"{model} on {suite}"
        for model in ("reference:transformer", "checkpoint")
        for suite in ("ruler", "track", "lm-eval", "extend")
    ]
    ruler, track, lm_eval, extend, *_ = plan.runs
    assert (ruler.settings.ctxs, ruler.settings.samples) == ((4096, 65536), 5)
    assert (ruler.options.dtype, ruler.options.skip_preflight) == (Dtype.BFLOAT16, True)
    assert track.settings.samples == 50, "one model does not come with evalkit"
    assert (lm_eval.settings.tasks, lm_eval.settings.shots) == (("arc_challenge", "hellaswag"), 0)
    assert extend.settings.margin_points == 1.0
    assert ruler.passed["ctx"] == ["64K", 4096]


def test_a_suite_of_a_plan_can_run_on_replicas(here: Path) -> None:
    text = "models: [checkpoint]\nsuites: {ruler: {ctx: 4096, replicas: auto, gpus_per_replica: 0.5}, track: }"
    ruler, track = read_plan(write(here, text)).runs
    assert (ruler.replicas, track.replicas) == (ReplicaOptions(None, 0.5), None)


def test_everything_is_relative_to_the_plans_file(here: Path) -> None:
    plan = read_plan(write(here, PLAN))
    ruler, _, _, extend, *others = plan.runs
    assert ruler.settings.data == str(here / "prepared")
    assert extend.settings.before == others[0].options.model == str(here / "checkpoint")
    assert ruler.options.model == "reference:transformer"
    assert ruler.folder == here / "runs/my-plan/reference-transformer/ruler"
    compare, board, gate = plan.reports
    assert (compare.base, compare.path) == ("reference:transformer", here / "runs/my-plan/c.html")
    assert (board.base, board.path) == (None, here / "runs/my-plan/L.md")
    assert gate.path == here / "gate.yaml"
    elsewhere = read_plan(write(here, PLAN), Path("out"))
    assert elsewhere.runs[0].folder == Path("out/reference-transformer/ruler")
    assert elsewhere.reports[0].path == Path("out/c.html")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty; its keys are models, suites, name, reports"),
        ("modles: [a]", "unknown key 'modles'; did you mean 'models'?"),
        ("models: a\nsuites: {track: }", "models is 'a'; it must be a list of names"),
        ("models: [a, a]\nsuites: {track: }", "two of its models would share a folder"),
        ("models: [a]", "suites is missing; it must be a mapping of suites to their options"),
        ("models: [a]\nsuites: {rular: }", "unknown suite 'rular'; did you mean 'ruler'?"),
        ("models: [a]\nsuites: {track: {3: 4}}", "suites is {'track': {3: 4}}; it must be a mapping of suites"),
        ("models: [a]\nsuites: {track: 3}", "suites is {'track': 3}; it must be a mapping of suites to their options"),
        ("models: [a]\nsuites: {track: {out: x}}", "suites.track.out is set by the plan itself"),
        ("models: [a]\nsuites: {ruler: }", "suites.ruler.ctx is missing"),
        ("models: [a]\nsuites: {ruler: {ctx: 4096, dialekt: olmes}}", "dialekt is unknown; did you mean 'dialect'?"),
        (
            "models: [a]\nsuites: {ruler: {ctx: 4096, dialect: olms}}",
            "suites.ruler: unknown dialect 'olms'; did you mean 'olmes'?",
        ),
        ("models: [a]\nsuites: {ruler: {ctx: [4096, big]}}", "suites.ruler.ctx: 'big' is not a whole number"),
        ("models: [a]\nsuites: {track: {dtype: int8}}", "suites.track.dtype: 'int8' is unknown"),
        ("models: [a]\nsuites: {track: {replicas: none}}", "suites.track.replicas none: write a number of 1 or more"),
        ("models: [a]\nsuites: {loss: {path: absent.txt}}", "absent.txt is not a file"),
        ("models: [a]\nsuites: {lm-eval: }", "suites.lm-eval: no task is named; write lm-eval:arc_challenge"),
        ("models: [a]\nsuites: {'lm-eval:a': , 'lm-eval:b': }", "lm-eval is there twice"),
        ("models: [a]\nsuites: {track: }\nreports: x", "reports is 'x'; it must be a list of reports"),
        (
            "models: [a]\nsuites: {track: }\nreports: [{report: chart}]",
            "report is 'chart'; it must be one of compare",
        ),
        (
            "models: [a]\nsuites: {track: }\nreports: [{report: leaderboard}]",
            "leaderboard takes out, not nothing",
        ),
        (
            "models: [abc]\nsuites: {track: }\nreports: [{report: compare, base: abd, new: abc, out: x.md}]",
            "base is not among the models; did you mean 'abc'?",
        ),
        ("models: [a]\nsuites: {track: }\nname: 3", "name is 3; it must be text"),
        ("models: [a]\nmodels: [b]", "'models' is there twice"),
    ],
)
def test_what_is_wrong_is_reported(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read_plan(write(tmp_path, text))
    assert said in str(error.value)
    assert "plan.yaml" in str(error.value)


def test_plans_that_come_with_evalkit() -> None:
    assert shipped_plans() == ("olmo-hybrid-7b", "reference-pair")
    assert read_plan("reference-pair").runs[0].folder == Path("runs/reference-pair/reference-transformer/ruler")
    with pytest.raises(UsageError, match="no plan is called 'reference-pear'; did you mean 'reference-pair'"):
        read_plan("reference-pear")
    with pytest.raises(UsageError, match=r"plan absent\.yaml cannot be read"):
        read_plan("absent.yaml")
    assert folder_name("../..") == "model"
