"""Limits of a first policy: an equal run is decided, the drop that is named fails, and too few samples give no rule."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.analysis.gate import gate
from evalkit.analysis.gate_margins import LARGEST, first_rules
from evalkit.analysis.policy import parse_policy
from tests.evalkit.run_factory import RunSpec, make_run, simulate


def spec_of(samples: int, seed: int = 0) -> RunSpec:
    rng = np.random.default_rng(seed)
    return RunSpec(simulate(rng, {("vt", 4096): 0.8, ("cwe", 4096): 0.7, ("vt", 65536): 0.6}, samples))


def test_limits_shrink_with_the_number_of_samples(tmp_path: Path) -> None:
    limits = {}
    for samples in (4, 40, 160):
        rules = first_rules([make_run(tmp_path / str(samples), spec_of(samples))])
        assert set(rules) == {"ruler@4096", "ruler@65536"}
        limits[samples] = rules["ruler@4096"].limit
    assert limits[4] is None
    assert limits[40] > limits[160] >= 1.0  # type: ignore[operator]


def test_too_few_samples_say_how_many_would_do(tmp_path: Path) -> None:
    rule = first_rules([make_run(tmp_path / "few", spec_of(4))])["ruler@65536"]
    assert rule.limit is None
    assert rule.samples_needed is not None
    enough, less = (
        first_rules([make_run(tmp_path / str(samples), spec_of(samples))])["ruler@65536"].limit
        for samples in (rule.samples_needed, rule.samples_needed - 1)
    )
    assert less is None
    assert enough is not None
    assert 0.9 * LARGEST <= enough <= LARGEST


DRAWS = 20


@pytest.mark.parametrize(("drop", "outcome"), [(False, "pass"), (True, "fail")])
def test_equal_runs_are_decided_and_the_named_drop_fails(tmp_path: Path, drop: bool, outcome: str) -> None:
    """Planned for 80 % of runs with 10 % of changed answers."""
    rng = np.random.default_rng(7)
    right = np.array([True] * 110 + [False] * 40)
    base = make_run(tmp_path / "base", RunSpec({("vt", 4096): right.astype(float).tolist()}))
    rule = first_rules([base])["ruler@4096"]
    assert rule.limit is not None
    assert rule.detectable is not None
    policy = parse_policy(f"rules: {{ruler@4096: {{max_drop: {rule.limit}}}}}")
    lost = rule.detectable / 100 if drop else 0.0
    share = max(0.1, lost)
    found = 0
    for number in range(DRAWS):
        worse = right & (rng.random(150) < (share + lost) / 2 * 150 / 110)
        better = ~right & (rng.random(150) < (share - lost) / 2 * 150 / 40)
        scores = {("vt", 4096): ((right & ~worse) | better).astype(float).tolist()}
        run = make_run(tmp_path / f"new-{number}", RunSpec(scores, model="./new", weights="new"))
        (verdict,) = gate([base], [run], policy).verdicts
        found += verdict.outcome == outcome
    assert found >= 0.6 * DRAWS


def test_losses_keep_a_plain_limit(tmp_path: Path) -> None:
    loss = RunSpec({("text", 4096): [0.5, 0.7]}, suite="loss", metric="bits_per_byte")
    assert first_rules([make_run(tmp_path / "loss", loss)])["loss/text@4096"].limit == 0.01
