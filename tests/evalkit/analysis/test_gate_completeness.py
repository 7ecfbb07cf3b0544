"""A gate judges complete results only: what is missing, errored or unscored fails by name."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.gate import GateResult, gate
from evalkit.analysis.policy import parse_policy
from evalkit.errors import UsageError
from evalkit.records import Figure, SummaryRow, UnscoredCell
from tests.evalkit.gating import judge, only
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, Score, changed, make_run

Scores = dict[tuple[str, int], list[Score]]
RIGHT: list[Score] = [1.0] * 4
THREE_TASKS = RunSpec({("vt", 4096): RIGHT, ("cwe", 4096): [0.0] * 4, ("fwe", 4096): [0.0] * 4})


def reason(folder: Path, rules: str, base: RunSpec, new: RunSpec, settings: str = "") -> str:
    """The reason why the only check fails on incomplete results."""
    verdict = only(judge(folder, rules, base, new, settings))
    assert (verdict.outcome, verdict.passes, verdict.complete) == ("fail", False, False)
    return verdict.reason


@pytest.mark.parametrize("rule", ["{min: 90}", "{max_drop: 100}", "{non_inferior: 100}"])
def test_a_mean_over_fewer_tasks_than_the_baselines_fails(tmp_path: Path, rule: str) -> None:
    new = changed(THREE_TASKS, {("vt", 4096): RIGHT}, whole_suite=False)
    assert reason(tmp_path, f"ruler@4096: {rule}", THREE_TASKS, new) == "missing in NEW: cwe@4096, fwe@4096"


@pytest.mark.parametrize(
    "rule", ["prefill_seconds: {max_increase: 50%}", "peak_memory: {max_increase: 50%}", "ruler/macro: {min: 1}"]
)
def test_costs_and_figures_of_fewer_lengths_fail(tmp_path: Path, rule: str) -> None:
    base = RunSpec({("vt", 4096): RIGHT, ("vt", 65536): RIGHT}, figures=(Figure("macro", 90.0, "points", None, 8),))
    new = changed(base, {("vt", 4096): RIGHT})
    assert reason(tmp_path, rule, base, new) == "missing in NEW: vt@65536"


@pytest.mark.parametrize(
    "rule",
    [
        "ruler@4096: {min: 1}",
        "ruler/vt@4096: {min: 1}",
        "ruler/effective_length: {min: 1}",
        "ruler/wavg_increasing: {min: 1}",
        "ruler/macro: {min: 1}",
        "ruler@4096: {max_drop: 100}",
        "ruler/vt@4096: {non_inferior: 100}",
        "prefill_seconds: {max_increase: 100%}",
        "peak_memory: {max_increase: 100%}",
    ],
)
@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (
            [1.0, *[ERRORED] * 3],
            "3 errored of 4 samples in NEW (vt), more than max_unscored: 0%; run NEW again",
        ),
        ([1.0, 1.0, 1.0, UNSCORED], "1 unscored of 4 samples in NEW (vt), more than max_unscored: 0%"),
        ([1.0, ERRORED, UNSCORED, 1.0], "1 errored and 1 unscored of 4 samples in NEW (vt)"),
        ([1.0, 1.0], "fewer samples in NEW: vt@4096 2 of 4; run them all, or state `expect: {ruler: {samples: 2}}`"),
    ],
)
def test_no_rule_passes_on_lost_samples(tmp_path: Path, rule: str, scores: list[Score], expected: str) -> None:
    base = RunSpec(
        {("vt", 4096): RIGHT},
        effective_length=4096,
        figures=(Figure("wavg_increasing", 90.0, "points"), Figure("macro", 90.0, "points", None, 4)),
    )
    assert reason(tmp_path, rule, base, changed(base, {("vt", 4096): scores})).startswith(expected)


def test_a_stated_share_may_be_without_score(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0] * 50})
    new = changed(base, {("vt", 4096): [1.0] * 48 + [ERRORED, UNSCORED]})
    rules = "ruler@4096: {min: 90}, ruler/vt@4096: {max_drop: 50}, prefill_seconds: {max_increase: 5%}"
    assert judge(tmp_path / "a", rules, base, new, "max_unscored: 4%").passed
    strict = judge(tmp_path / "b", f"{rules}, ruler: {{min: 90, max_unscored: 3%}}", base, new, "max_unscored: 4%")
    assert [verdict.passes for verdict in strict.verdicts] == [True, True, True, False]
    verdict = judge(tmp_path / "c", rules, base, new, "max_unscored: 4%").verdicts[1]
    assert verdict.reason.endswith("(48 of BASE's 50 samples have a score in NEW)")


def test_a_floor_on_the_mean_of_some_tasks_fails_unless_the_policy_names_them(tmp_path: Path) -> None:
    some = replace(THREE_TASKS, whole_suite=False)
    rule = "ruler@4096: {min: 30}"
    assert reason(tmp_path / "a", rule, some, some) == (
        "NEW's mean at 4096 is not that of the whole suite: its record is incomplete and covers vt, cwe, fwe; "
        "run the whole suite, or state `expect: {ruler: {tasks: [vt, cwe, fwe]}}` in the policy"
    )
    for number, tasks in enumerate(("[vt, cwe, fwe]", "'*'", "['v*', '?we']")):
        named = judge(tmp_path / f"b{number}", rule, some, some, f"expect: {{ruler: {{tasks: {tasks}}}}}")
        assert named.passed
        assert only(named).new == pytest.approx(100 / 3)
    # The difference of two such means is valid, because both are over the same tasks.
    assert judge(tmp_path / "c", "ruler@4096: {max_drop: 0}", some, some).passed


def test_expected_tasks_are_what_the_mean_is_over(tmp_path: Path) -> None:
    new = changed(THREE_TASKS, {("vt", 4096): RIGHT, ("cwe", 4096): RIGHT}, whole_suite=False)
    expect = "expect: {ruler: {tasks: [vt, cwe]}}"
    floor, drop = judge(tmp_path / "a", "ruler@4096: {min: 90, max_drop: 90}", THREE_TASKS, new, expect).verdicts[::-1]
    assert (floor.new, floor.passes) == (100.0, True)
    assert (drop.base, drop.new, drop.n) == (50.0, 100.0, 8)
    absent = "expect: {ruler: {tasks: [vt, qa_1]}}"
    assert reason(tmp_path / "b", "ruler@4096: {min: 1}", THREE_TASKS, new, absent) == "missing in NEW: qa_1@4096"
    with pytest.raises(UsageError, match=r"ruler@4096: missing in BASE: qa_1@4096; make a new baseline"):
        judge(tmp_path / "c", "ruler@4096: {max_drop: 1}", THREE_TASKS, new, absent)


def test_a_figure_rests_on_the_expected_tasks_and_no_others(tmp_path: Path) -> None:
    some = replace(THREE_TASKS, whole_suite=False, figures=(Figure("macro", 90.0, "points", None, 12),))
    rule = "ruler/macro: {min: 90}"
    assert "not that of the whole suite" in reason(tmp_path / "a", rule, some, some)
    assert judge(tmp_path / "b", rule, some, some, "expect: {ruler: {tasks: [vt, cwe, fwe]}}").passed
    found = reason(tmp_path / "c", rule, some, some, "expect: {ruler: {tasks: [vt, cwe]}}")
    assert found == "macro in NEW also covers tasks that the policy does not expect: fwe"


def test_fewer_samples_need_a_word_of_the_policy(tmp_path: Path) -> None:
    base = RunSpec({("vt", 4096): [1.0] * 40})
    new = changed(base, {("vt", 4096): [1.0] * 10})
    rules = "ruler@4096: {max_drop: 60}, ruler/vt@4096: {min: 90}"
    stated = judge(tmp_path / "a", rules, base, new, "expect: {ruler: {samples: 10}}")
    assert stated.passed
    assert stated.verdicts[0].reason.endswith("(10 of BASE's 40 samples have a score in NEW)")
    more = judge(tmp_path / "b", rules, base, new, "expect: {ruler: {samples: 11}}")
    assert {verdict.reason.partition(";")[0] for verdict in more.verdicts} == {"fewer samples in NEW: vt@4096 10 of 11"}
    with pytest.raises(UsageError, match="fewer samples in BASE: vt@4096 10 of 40"):
        judge(tmp_path / "c", "ruler@4096: {max_drop: 1}", new, base, "expect: {ruler: {samples: 40}}")


def test_as_many_other_samples_are_not_the_baselines(tmp_path: Path) -> None:
    base, new = RunSpec({("vt", 4096): [1.0] * 3}), RunSpec({("vt", 4096): [1.0] * 6})
    first, second = make_run(tmp_path / "a", base), make_run(tmp_path / "b", new)
    later = {name: sample for name, sample in second.samples.items() if sample.index >= 3}
    found = gate([first], [replace(second, samples=later)], parse_policy("rules: {ruler: {max_drop: 90}}"))
    assert only(found).reason == "missing in NEW: vt@4096"


@pytest.mark.parametrize("lost", [ERRORED, UNSCORED])
def test_a_baseline_with_lost_samples_is_no_baseline(tmp_path: Path, lost: str) -> None:
    base = RunSpec({("vt", 4096): [1.0, *[lost] * 3]})
    new = changed(base, {("vt", 4096): [0.0] * 4})
    with pytest.raises(UsageError, match=rf"rule 'ruler@4096': ruler@4096: 3 {lost} of 4 samples in BASE \(vt\)"):
        judge(tmp_path / "a", "ruler@4096: {max_drop: 1}", base, new)
    assert judge(tmp_path / "b", "ruler@4096: {max_drop: 1}", base, new, "max_unscored: 75%").verdicts[0].n == 1


def test_a_task_that_could_not_be_asked_fails_a_floor_with_its_reason(tmp_path: Path) -> None:
    cell = UnscoredCell("qa_1", 512, "its smallest prompt has 700 tokens")
    spec = RunSpec({("vt", 512): RIGHT}, unscored_cells=(cell,), whole_suite=False)
    row, mean = judge(tmp_path, "ruler/q*@512: {min: 1}, ruler@512: {min: 1}", spec, spec).verdicts
    assert row.reason == "missing in NEW: qa_1@512 (its smallest prompt has 700 tokens)"
    assert "covers vt, without qa_1 (its smallest prompt has 700 tokens)" in mean.reason
    # No run has this row, so a glob cannot select its drop.
    assert judge(tmp_path / "drop", "'ruler/*@512': {max_drop: 1}", spec, spec).passed


def test_a_glob_that_selects_nothing_in_new_fails(tmp_path: Path) -> None:
    new = changed(THREE_TASKS, {("vt", 4096): RIGHT}, whole_suite=False)
    result = judge(tmp_path, "'ruler/*we': {min: 0, max_drop: 100}", THREE_TASKS, new)
    assert [(verdict.passes, verdict.reason) for verdict in result.verdicts] == [
        (False, f"missing in NEW: {task}@4096") for _ in range(2) for task in ("cwe", "fwe")
    ]


def test_a_mean_by_sample_is_recomputed_over_the_expected_tasks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunSpec({("a", 0): [1.0], ("b", 0): [0.0] * 3, ("c", 0): RIGHT}, suite="mmlu"))
    summary = (SummaryRow(0, 62.5, None, 3, complete=False, by_sample=True),)
    by_sample = StoredRun(run.folder, replace(run.record, summary=summary), run.samples)
    policy = parse_policy("rules: {mmlu: {min: 20, max_drop: 0}}\nexpect: {mmlu: {tasks: [a, b]}}")
    drop, floor = gate([by_sample], [by_sample], policy).verdicts
    assert (floor.new, drop.new) == (25.0, 25.0)


CELLS = [("vt", 4096), ("cwe", 4096), ("vt", 65536), ("cwe", 65536)]
RULES = (
    "ruler: {min: 40, max_drop: 20}, 'ruler/*': {max_drop: 0, tier: supporting}, ruler/vt@4096: {non_inferior: 60}, "
    "prefill_seconds: {max_increase: 10%}, peak_memory: {max_increase: 5%}, ruler/effective_length: {min: 4096}, "
    "ruler/cwe@65536: {max_drop: 0, tier: advisory}"
)
marks = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=8)


@settings(max_examples=40)
@given(st.data())
def test_a_gate_never_improves_when_samples_are_removed_from_new(data: st.DataObject) -> None:
    base: Scores = {cell: list(data.draw(marks)) for cell in CELLS}
    whole: Scores = {cell: list(data.draw(st.permutations(scores))) for cell, scores in base.items()}
    left: Scores = {
        cell: [ERRORED if lost else score for score, lost in zip(scores, data.draw(losses(len(scores))), strict=True)]
        for cell, scores in whole.items()
    }
    kept: Scores = {cell: scores[: data.draw(st.integers(0, len(scores)))] for cell, scores in left.items()}
    removed = {cell: scores for cell, scores in kept.items() if scores or data.draw(st.booleans())}
    before, lossy, after = (_judged(base, scores) for scores in (whole, left, removed))
    for fuller, emptier in ((before, lossy), (lossy, after)):
        assert fuller.passed or not emptier.passed
        passes = {(verdict.rule, verdict.target, verdict.kind): verdict.passes for verdict in emptier.verdicts}
        for verdict in fuller.verdicts:
            assert verdict.passes or not passes[verdict.rule, verdict.target, verdict.kind]


def losses(count: int) -> st.SearchStrategy[list[bool]]:
    return st.lists(st.sampled_from([False, False, False, True]), min_size=count, max_size=count)


def _judged(base: Scores, new: Scores) -> GateResult:
    spec = RunSpec(base, effective_length=65536)
    with tempfile.TemporaryDirectory() as folder:
        return judge(Path(folder), RULES, spec, changed(spec, new), "supporting_failures: 1")
