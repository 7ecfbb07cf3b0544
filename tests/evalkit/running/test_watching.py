"""Plans for the checkpoints of a training run, and the steps in their names."""

from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.running.watching import (
    VERDICT_SCHEMA,
    CheckpointVerdict,
    Step,
    read_verdicts,
    read_watching_plan,
    step_of,
    write_verdict,
)

PLAN = """
suites: {track: {tasks: [parity], updates: [4]}}
reports:
  - {report: compare, base: last-good, new: checkpoint, out: comparison.html}
  - {report: gate, base: last-good, new: checkpoint, policy: gate.yaml}
  - {report: leaderboard, out: LEADERBOARD.md}
"""


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step1000", Step(0, 1000)),
        ("checkpoint-500", Step(0, 500)),
        ("global_step_20", Step(0, 20)),
        ("step1000-unsharded", Step(0, 1000)),
        ("stage2-step300-tokens4B", Step(2, 300)),
        ("iter_0004000", Step(0, 4000)),
        ("0004000", Step(0, 4000)),
        ("olmo2-7b-12000", Step(0, 12000)),
        ("ckpt-3", Step(0, 3)),
        *(
            (name, None)
            for name in ("latest", "final", "main", "tmp-checkpoint-500", ".step4", "step4.tmp", "step4-part")
        ),
        *((name, None) for name in ("step5.incomplete", "", "step")),
    ],
)
def test_steps_in_names(name: str, step: Step | None) -> None:
    assert step_of(name) == step


def test_steps_are_ordered_by_stage_and_then_by_number() -> None:
    names = ["stage2-step5", "stage1-step900", "step1000", "step20"]
    assert sorted(names, key=lambda name: step_of(name) or Step(9, 9)) == [
        *("step20", "step1000", "stage1-step900", "stage2-step5"),
    ]


def test_a_checkpoint_has_its_own_folder_and_the_board_is_of_all(tmp_path: Path) -> None:
    (tmp_path / "night.yaml").write_text(PLAN)
    plan = read_watching_plan(str(tmp_path / "night.yaml"))
    place = tmp_path / "runs/night"
    of_first = plan.of("step100", "/train/step100", None)
    assert [(run.folder, run.options.model) for run in of_first.runs] == [(place / "step100/track", "/train/step100")]
    assert [report.kind for report in of_first.reports] == ["leaderboard"]
    reports = plan.of("step200", "/train/step200", "step100").reports
    assert [(report.base, report.new, report.path) for report in reports] == [
        ("step100", "step200", place / "step200/comparison.html"),
        ("step100", "step200", tmp_path / "gate.yaml"),
        (None, None, place / "LEADERBOARD.md"),
    ]
    assert reports[1].written == place / "step200/gate.md"
    assert plan.of_fixed().runs == ()


def test_models_of_the_file_are_fixed(tmp_path: Path) -> None:
    (tmp_path / "night.yaml").write_text("models: [ORG/base]" + PLAN.replace("base: last-good", "base: ORG/base"))
    plan = read_watching_plan(str(tmp_path / "night.yaml"), tmp_path / "out")
    assert plan.fixed == ("ORG/base",)
    assert [run.folder for run in plan.of_fixed().runs] == [tmp_path / "out/ORG-base/track"]
    assert [report.base for report in plan.of("step1", "x", None).reports] == ["ORG/base", "ORG/base", None]
    with pytest.raises(UsageError, match="checkpoint ORG-base has the name of one of the plan's models"):
        plan.of("ORG-base", "x", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("last-good", "last-god"),
            "plan p.yaml: report compare: base 'last-god' is neither checkpoint, last-good nor",
        ),
        (("new: checkpoint", "new: step5"), "new 'step5' is neither checkpoint, last-good nor a model of the plan"),
        (("parity", "party"), "did you mean 'parity'"),
        (("{track", "{trck"), "did you mean 'track'"),
        (("suites:", "suits:"), "plan p.yaml: unknown key 'suits'"),
        (("out: LEADERBOARD.md", "policy: x"), "report leaderboard takes out, not policy"),
    ],
)
def test_faults_are_named_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(PLAN.replace(*change))
    with pytest.raises(UsageError) as refusal:
        read_watching_plan("p.yaml")
    assert message in str(refusal.value)


def test_verdicts_are_read_in_the_order_of_steps_and_damaged_ones_are_made_again(tmp_path: Path) -> None:
    verdicts = [
        CheckpointVerdict(VERDICT_SCHEMA, f"step{number}", Step(0, number), f"/train/step{number}", None, passed=True)
        for number in (5, 40, 300)
    ]
    for verdict in reversed(verdicts):
        (tmp_path / verdict.checkpoint).mkdir()
        write_verdict(tmp_path / verdict.checkpoint, verdict)
    assert read_verdicts(tmp_path) == verdicts
    (tmp_path / "step40/verdict.json").write_text('{"checkpoint": ')
    assert read_verdicts(tmp_path) == [verdicts[0], verdicts[2]]
    assert not (tmp_path / "step40/verdict.json").exists()
