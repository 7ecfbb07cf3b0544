"""`--explain`: what a policy can decide with a number of samples."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.gate import gate
from evalkit.analysis.gate_explain import Explanation, explain
from evalkit.analysis.policy import parse_policy
from evalkit.errors import UsageError
from tests.evalkit.run_factory import RunSpec, Score, changed, make_run

SUITES = {"ruler": tuple(f"t{number}" for number in range(13))}
POLICY = "rules: {ruler@4096: {max_drop: 1}, 'ruler/*@4096': {max_drop: 0}}"


def explained(text: str, *sides: StoredRun, samples: int | None = None, share: float = 0.1) -> Explanation:
    base, new = ([run] for run in sides) if len(sides) == 2 else (list(sides), [])
    return explain(parse_policy(text), base, new, samples=samples, changed=share, suites=SUITES)


def test_without_runs_a_whole_suite_is_assumed() -> None:
    mean, *rows = explained(POLICY, samples=100).checks
    assert (mean.target, mean.pairs, mean.level) == ("ruler@4096", 1300, pytest.approx(0.05 / 14))
    assert [(row.pairs, row.level) for row in rows] == [(100, pytest.approx(0.05 / 14))] * 13
    # Normal approximations: a limit, and 2.69 + 0.84 standard errors if 12 % and 17 % of the answers change.
    assert mean.detectable == pytest.approx(1 + 3.53 * 0.96, abs=0.2)
    assert rows[0].detectable == pytest.approx(3.53 * 3.88, abs=1.0)
    assert mean.samples_needed == pytest.approx((2.8 / 0.01) ** 2 * 0.1 / 13, rel=0.1)
    assert rows[0].samples_needed is None


def test_without_runs_more_samples_detect_less() -> None:
    few, many = (explained(POLICY, samples=samples).checks for samples in (20, 500))
    for one, other in zip(few, many, strict=True):
        assert one.detectable is not None
        assert other.detectable is not None
        assert other.detectable < one.detectable
        assert other.samples_needed == one.samples_needed


def test_a_base_says_what_is_selected_and_how_many_samples_there_are(tmp_path: Path) -> None:
    scores: dict[tuple[str, int], list[Score]] = {
        ("vt", 4096): [0.5] * 30,
        ("cwe", 4096): [1.0] * 30,
        ("vt", 8192): [1.0] * 10,
    }
    base = make_run(tmp_path / "base", RunSpec(scores))
    checks = explained("rules: {ruler: {max_drop: 0}, 'ruler/*': {non_inferior: 10}}", base).checks
    assert [(check.target, check.pairs) for check in checks] == [
        ("ruler@4096", 60),
        ("ruler@8192", 10),
        ("ruler/vt@4096", 30),
        ("ruler/cwe@4096", 30),
        ("ruler/vt@8192", 10),
    ]
    # Intervals are wider for fractions, so the same number of samples detects less.
    fractions, whole = checks[2], checks[3]
    assert (fractions.fails_without_drop or 0) > (whole.fails_without_drop or 0)
    assert [check.pairs for check in explained("rules: {ruler: {max_drop: 0}}", base, samples=50).checks] == [100, 50]


def test_floors_and_costs_are_not_tests() -> None:
    text = "rules: {ruler@4096: {min: 80}, peak_memory: {max_increase: 5%}, ruler/effective_length: {min: 4096}}"
    explanation = explained(text, samples=100)
    assert {check.note for check in explanation.checks} == {"compared as measured, without a test"}
    assert (explanation.false_alarm.tests, explanation.false_alarm.not_counted) == (0, 3)


def test_the_spread_of_two_runs_is_what_a_gate_of_them_sees(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(200)
    base = RunSpec({("vt", 4096): [float(value > 0.1) for value in wrong]})
    new = changed(base, {("vt", 4096): [float(not 0.1 < value < 0.2) for value in wrong]})
    sides = (make_run(tmp_path / "base", base), make_run(tmp_path / "new", new))
    text = "rules: {ruler/vt@4096: {non_inferior: 5}}"
    now = explained(text, *sides)
    judged = gate([sides[0]], [sides[1]], parse_policy(text))
    assert now.false_alarm == judged.false_alarm
    (check,) = now.checks
    (later,) = explained(text, *sides, samples=check.samples_needed).checks
    assert later.fails_without_drop == pytest.approx(0.2, abs=0.02)


def test_losses_need_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    losses = [float(value) for value in rng.normal(0.8, 0.1, 40)]
    spec = RunSpec({("text", 4096): losses}, suite="loss", metric="bits_per_byte")
    new = changed(spec, {("text", 4096): [value + float(rng.normal(0, 0.01)) for value in losses]})
    sides = (make_run(tmp_path / "base", spec), make_run(tmp_path / "new", new))
    text = "rules: {loss: {max_drop: 0.01, undecided: fail}}"
    (unknown,) = explained(text, sides[0]).checks
    assert unknown.detectable is None
    assert "name NEW" in unknown.note
    assert explained(text, sides[0]).false_alarm.not_shown == 1.0
    (known,) = explained(text, *sides).checks
    assert known.unit == "bits per byte"
    # The test must show that a drop is at most 0.01; if the drop is close to that, most runs do not show it.
    assert 0.005 < (known.detectable or 0) < 0.01


@pytest.mark.parametrize(
    ("text", "samples", "said"),
    [
        (POLICY, None, "--samples is missing: without BASE the number of samples per task is unknown"),
        ("rules: {track: {max_drop: 1}}", 10, "rule 'track': what it selects is known only from a run; name BASE"),
        ("rules: {ruler/qa_1: {max_drop: 1}}", 10, "rule 'ruler/qa_1' selects nothing"),
    ],
)
def test_what_is_not_known_without_runs_is_reported(text: str, samples: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        explained(text, samples=samples)


def test_expected_tasks_are_what_a_mean_is_planned_over() -> None:
    text = "rules: {ruler@4096: {max_drop: 1}}\nexpect: {ruler: {tasks: [t1, t2]}}"
    (mean,) = explained(text, samples=100).checks
    assert mean.pairs == 200
