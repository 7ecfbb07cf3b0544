"""Plans become command lines, and whatever is wrong with one is said before anything runs."""

from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.running.plan import folder_name, read_plan, shipped_plans

SUITES = ("ruler", "track")
PLAN = """
name: my plan
models: [reference:transformer, ./checkpoint]
suites:
  ruler: {ctx: [4096, 65536], samples: 5, skip_preflight: true}
  track:
reports:
  - {report: compare, base: reference:transformer, new: ./checkpoint, out: c.html}
  - {report: leaderboard, out: L.md}
  - {report: gate, base: reference:transformer, new: ./checkpoint, policy: gate.yaml}
"""


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "plan.yaml").write_text(text)
    return str(tmp_path / "plan.yaml")


def test_a_plan_is_command_lines_and_reports(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, PLAN), None, SUITES)
    assert [(run.model, run.suite) for run in plan.runs] == [
        (model, suite) for model in ("reference:transformer", "./checkpoint") for suite in SUITES
    ]
    assert plan.runs[0].arguments == (
        *("ruler", "--ctx", "4096,65536", "--samples", "5", "--skip-preflight"),
        *("--model", "reference:transformer", "--out", "runs/my-plan/reference-transformer/ruler"),
    )
    compare, board, gate = plan.reports
    assert (compare.base, compare.path) == (Path("runs/my-plan/reference-transformer"), Path("runs/my-plan/c.html"))
    assert (board.base, board.path) == (None, Path("runs/my-plan/L.md"))
    assert gate.path == Path("gate.yaml")
    assert read_plan(write(tmp_path, PLAN), Path("here"), SUITES).runs[0].folder == Path(
        "here/reference-transformer/ruler"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it needs `models:` and `suites:`"),
        ("modles: [a]", "unknown key 'modles'; did you mean 'models'?"),
        ("models: a\nsuites: {ruler: }", "`models:` must be a list of names"),
        ("models: [a, a]\nsuites: {ruler: }", "two of its models would share a folder"),
        ("models: [a]", "`suites:` must map suites to their options"),
        ("models: [a]\nsuites: {rular: }", "unknown suite 'rular'; did you mean 'ruler'?"),
        ("models: [a]\nsuites: {ruler: 3}", "the options of ruler are 3"),
        ("models: [a]\nsuites: {ruler: {out: x}}", "suite ruler: out is set by the plan itself"),
        ("models: [a]\nsuites: {ruler: }\nreports: x", "`reports:` must be a list"),
        ("models: [a]\nsuites: {ruler: }\nreports: [{report: chart}]", "is no report; `report:` is one of compare"),
        ("models: [a]\nsuites: {ruler: }\nreports: [{report: leaderboard}]", "report leaderboard needs out"),
        (
            "models: [abc]\nsuites: {ruler: }\nreports: [{report: compare, base: abd, new: abc, out: x.md}]",
            "base is not among the models; did you mean 'abc'?",
        ),
        ("models: [a]\nsuites: {ruler: }\nname: 3", "name is 3; it must be text"),
        ("models: [a]\nmodels: [b]", "'models' stands there twice"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read_plan(write(tmp_path, text), None, SUITES)
    assert said in str(error.value)
    assert "plan.yaml" in str(error.value)


def test_plans_that_come_with_evalkit() -> None:
    assert shipped_plans() == ("olmo-hybrid-7b", "reference-pair")
    with pytest.raises(UsageError, match="no plan is called 'reference-pear'; did you mean 'reference-pair'"):
        read_plan("reference-pear", None, SUITES)
    with pytest.raises(UsageError, match=r"plan absent\.yaml cannot be read"):
        read_plan("absent.yaml", None, SUITES)
    assert folder_name("../..") == "model"
