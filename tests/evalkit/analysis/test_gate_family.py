"""Policies as a whole: tests that share an error rate, tiers, and the rate of false failures."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.analysis.gate import GateResult
from evalkit.analysis.gate_verdict import Verdict
from tests.evalkit.drawn_answers import answers
from tests.evalkit.gating import judge, right_and_wrong
from tests.evalkit.run_factory import ERRORED, RunSpec, Score, changed

N = 200
TASKS = [f"t{number}" for number in range(13)]
BASE = RunSpec({(task, 4096): right_and_wrong(N - 5, 5) for task in TASKS})


def with_losses(losses: dict[str, int]) -> RunSpec:
    """A candidate that loses the given number of answers in some tasks and gains none."""
    scores: dict[tuple[str, int], list[Score]] = {
        (task, 4096): [0.0] * losses.get(task, 0) + [1.0] * (N - 5 - losses.get(task, 0)) + [0.0] * 5 for task in TASKS
    }
    return changed(BASE, scores)


def by_target(result: GateResult) -> dict[str, Verdict]:
    return {verdict.target: verdict for verdict in result.verdicts}


def test_a_drop_that_fails_alone_does_not_among_thirteen(tmp_path: Path) -> None:
    # Seven losses and no gain: a one-sided p of 0.8 %, below 2.5 % and above 5 % / 13.
    new = with_losses({"t3": 7})
    (alone,) = judge(tmp_path / "a", "ruler/t3: {max_drop: 0}", BASE, new).verdicts
    assert (alone.outcome, alone.level) == ("fail", pytest.approx(0.025))
    verdict = by_target(judge(tmp_path / "b", "'ruler/*': {max_drop: 0}", BASE, new))["ruler/t3@4096"]
    assert (verdict.outcome, verdict.passes, verdict.level) == ("undecided", True, pytest.approx(0.05 / 13))
    assert verdict.interval == alone.interval
    assert verdict.bound is not None
    assert verdict.bound < 0 < (verdict.interval or (0, 0))[0]
    assert "these samples do not decide whether it is above 0 after correction for 13 tests" in verdict.reason
    assert (
        by_target(judge(tmp_path / "c", "'ruler/*': {max_drop: 0}", BASE, new, "error_rate: 25%"))[
            "ruler/t3@4096"
        ].outcome
        == "fail"
    )


def test_a_large_drop_passes_its_share_on(tmp_path: Path) -> None:
    # Eight losses: p is 0.39 %, above 5 % / 13 and below 5 % / 12.
    one, both = (
        by_target(judge(tmp_path / str(len(losses)), "'ruler/*': {max_drop: 0}", BASE, with_losses(losses)))
        for losses in ({"t1": 8}, {"t1": 8, "t2": 40})
    )
    assert (one["ruler/t1@4096"].outcome, both["ruler/t1@4096"].outcome) == ("undecided", "fail")
    assert "; at least" in both["ruler/t2@4096"].reason
    assert both["ruler/t2@4096"].reason.endswith("after correction for 13 tests")


def test_advisory_tests_take_nothing_from_the_others(tmp_path: Path) -> None:
    rules = "ruler/t3: {max_drop: 0}, 'ruler/t[0-24-9]*': {max_drop: 0, tier: advisory}"
    result = judge(tmp_path, rules, BASE, with_losses({"t3": 7}))
    assert by_target(result)["ruler/t3@4096"].outcome == "fail"
    assert result.false_alarm.tests == 1


def tiers(folder: Path, losses: dict[str, int], allowed: int) -> GateResult:
    rules = (
        "ruler/t0: {max_drop: 0}, ruler/t1: {max_drop: 0, tier: supporting}, ruler/t2: {max_drop: 0, tier: supporting},"
        "ruler/t3: {max_drop: 0, tier: advisory}"
    )
    return judge(folder, rules, BASE, with_losses(losses), f"supporting_failures: {allowed}")


@pytest.mark.parametrize(
    ("failing", "allowed", "fail_the_gate"),
    [
        (["t3"], 0, []),
        (["t1"], 0, ["t1"]),
        (["t1"], 1, []),
        (["t1", "t2"], 1, ["t1", "t2"]),
        (["t1", "t2"], 2, []),
        (["t0", "t1"], 1, ["t0"]),
    ],
)
def test_tiers(tmp_path: Path, failing: list[str], allowed: int, fail_the_gate: list[str]) -> None:
    result = tiers(tmp_path, dict.fromkeys(failing, 40), allowed)
    assert [verdict.target for verdict in result.verdicts if not verdict.passes] == [f"ruler/{t}@4096" for t in failing]
    assert [verdict.target for verdict in result.verdicts if verdict.fails_gate] == [
        f"ruler/{task}@4096" for task in fail_the_gate
    ]
    assert result.passed == (not fail_the_gate)


def test_a_supporting_check_without_complete_results_is_not_tolerated(tmp_path: Path) -> None:
    rules = "ruler/t1: {max_drop: 0, tier: supporting}, ruler/t2: {min: 1, tier: advisory}"
    lost = changed(BASE, {**BASE.scores, ("t1", 4096): [ERRORED] * N, ("t2", 4096): [ERRORED] * N})
    result = judge(tmp_path, rules, BASE, lost, "supporting_failures: 5")
    assert not result.passed
    assert [verdict.fails_gate for verdict in result.verdicts] == [True, False]


@pytest.mark.parametrize(
    ("rules", "settings", "by_chance"),
    [
        ("ruler/t0: {max_drop: 0}", "", 0.025),
        ("ruler/t0: {max_drop: 0, confidence: 0.99}", "", 0.005),
        ("'ruler/t[01]': {max_drop: 0}", "", 0.05),
        ("'ruler/*': {max_drop: 0}", "", 0.05),
        ("'ruler/*': {max_drop: 0}", "error_rate: 1%", 0.01),
        ("'ruler/*': {max_drop: 0}", "error_rate: 50%", 0.325),
        ("'ruler/*': {max_drop: 0, tier: advisory}, ruler: {min: 1}", "", 0.0),
    ],
)
def test_the_false_alarms_of_drops(tmp_path: Path, rules: str, settings: str, by_chance: float) -> None:
    alarm = judge(tmp_path, rules, BASE, with_losses({"t0": 2}), settings).false_alarm
    assert alarm.by_chance == alarm.probability == pytest.approx(by_chance)
    assert alarm.not_counted == ("min" in rules)


def test_a_rule_that_must_show_something_fails_for_lack_of_samples(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    noise = rng.random(N)
    # One answer in five changes, equally often in both directions.
    base = RunSpec({("t0", 4096): [float(value > 0.1) for value in noise]})
    new = changed(base, {("t0", 4096): [float(not 0.1 < value < 0.2) for value in noise]})
    rules = "ruler/t0: {max_drop: 0}, 'ruler/t*': {non_inferior: 5}, ruler: {max_drop: 5, undecided: fail}"
    alarm = judge(tmp_path / "a", rules, base, new).false_alarm
    assert (alarm.tests, alarm.must_be_shown, alarm.by_chance) == (1, 2, pytest.approx(0.025))
    one = judge(tmp_path / "b", "'ruler/t*': {non_inferior: 5}", base, new).false_alarm
    assert one.not_shown == pytest.approx(missed(0.2, 0.05), abs=0.06)
    assert alarm.not_shown == pytest.approx(min(1.0, 2 * one.not_shown), abs=1e-9)
    assert alarm.probability == min(1.0, alarm.by_chance + alarm.not_shown)
    same = judge(tmp_path / "c", "'ruler/t*': {non_inferior: 0}", base, base).false_alarm
    assert same.probability == 0.0


def missed(share: float, margin: float, draws: int = 400) -> float:
    """How often the upper bound of N simulated pairs without a drop exceeds the margin."""
    rng = np.random.default_rng(4)
    return float(np.mean([(answers(rng, N, share, 0.0).interval() or (0, 1))[1] > margin for _ in range(draws)]))
