"""Gates of two runs that are made from scores."""

from pathlib import Path

from evalkit.analysis.gate import GateResult, gate
from evalkit.analysis.gate_verdict import Verdict
from evalkit.analysis.policy import parse_policy
from tests.evalkit.run_factory import RunSpec, Score, make_run


def judge(folder: Path, rules: str, base: RunSpec, new: RunSpec, settings: str = "") -> GateResult:
    policy = parse_policy(f"{settings}\nrules: {{{rules}}}")
    return gate([make_run(folder / "base", base)], [make_run(folder / "new", new)], policy)


def only(result: GateResult) -> Verdict:
    (verdict,) = result.verdicts
    return verdict


def right_and_wrong(right: int, wrong: int) -> list[Score]:
    return [1.0] * right + [0.0] * wrong
