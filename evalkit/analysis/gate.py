"""A gate: judge a new run by a policy, in comparison with a baseline run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.analysis.comparison import ComparedRun
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.gate_costs import check_cost
from evalkit.analysis.gate_drops import DropTest, decide, prepare_drop
from evalkit.analysis.gate_false_alarm import FalseAlarm, chance_not_shown, false_alarm
from evalkit.analysis.gate_floors import check_floor
from evalkit.analysis.gate_targets import Target, select
from evalkit.analysis.gate_verdict import GateVerdict, incomplete
from evalkit.analysis.pairing import Pairing, pair_rows
from evalkit.analysis.policy import Check, Policy
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.statistics.power import Spread


@dataclass(frozen=True, slots=True)
class GateResult:
    """All verdicts of a policy."""

    policy: str
    base: tuple[ComparedRun, ...]
    new: tuple[ComparedRun, ...]
    verdicts: tuple[GateVerdict, ...]
    passed: bool
    error_rate: float
    supporting_failures: int
    """Supporting checks that may fail."""
    false_alarm: FalseAlarm


def gate(base: Sequence[StoredRun], new: Sequence[StoredRun], policy: Policy) -> GateResult:
    """Check the runs of `new` against those of `base`, suite by suite.

    Raises IncompatibleRunError if two runs that a check compares have different questions or, for times and memory,
    different hardware; and UsageError if a selector selects nothing or BASE lacks what is compared.
    """
    sides = _Sides({run.record.suite: run for run in base}, {run.record.suite: run for run in new})
    for suite in policy.expect:
        if suite not in {**sides.base, **sides.new}:
            raise UsageError(f"expect: no run of suite {suite!r}{did_you_mean(suite, {**sides.base, **sides.new})}")
    selected = [(check, target) for check in policy.checks for target in select(check, sides.base, sides.new)]
    examined = [_examine(sides, policy, check, target) for check, target in selected]
    verdicts = with_effects(_decided(examined, policy.error_rate), policy.supporting_failures)
    return GateResult(
        policy=policy.path,
        base=tuple(ComparedRun.of(run) for run in base),
        new=tuple(ComparedRun.of(run) for run in new),
        verdicts=verdicts,
        passed=not any(verdict.fails_gate for verdict in verdicts),
        error_rate=policy.error_rate,
        supporting_failures=policy.supporting_failures,
        false_alarm=false_alarm([check for check, _ in selected], policy.error_rate, _not_shown(examined)),
    )


class _Sides:
    """Both sides by suite, paired on demand: a policy of floors alone needs no pairs."""

    def __init__(self, base: Mapping[str, StoredRun], new: Mapping[str, StoredRun]) -> None:
        self.base, self.new = base, new
        self._pairings: dict[str, Pairing] = {}

    def pairing(self, suite: str) -> Pairing:
        if suite not in self._pairings:
            self._pairings[suite] = pair_rows(self.base[suite], self.new[suite])
        return self._pairings[suite]


def _examine(sides: _Sides, policy: Policy, check: Check, target: Target) -> GateVerdict | DropTest:
    """The verdict of one check on one target, or the test that is decided together with the policy's other tests."""
    suite, expectation = target.suite, policy.expectation(target.suite)
    if suite not in sides.new:
        return incomplete(check, target, f"NEW has no run of {suite}")
    if check.kind == "min":
        base = sides.base[suite].record if suite in sides.base else None
        return check_floor(sides.new[suite].record, base, check, target, expectation)
    if suite not in sides.base:
        raise UsageError(f"rule {check.selector.text!r}: BASE has no run of {suite}; make one, or drop the rule")
    if check.kind == "max_increase":
        return check_cost(sides.pairing(suite), check, target, expectation)
    return prepare_drop(sides.pairing(suite), check, target, expectation)


def _decided(examined: Sequence[GateVerdict | DropTest], error_rate: float) -> list[GateVerdict]:
    """All verdicts; tests that can fail the gate share the error rate, and so do those that cannot."""
    verdicts = {number: entry for number, entry in enumerate(examined) if isinstance(entry, GateVerdict)}
    tests = {number: entry for number, entry in enumerate(examined) if isinstance(entry, DropTest)}
    for advisory in (False, True):
        family = {number: test for number, test in tests.items() if (test.check.tier == "advisory") == advisory}
        verdicts |= dict(zip(family, decide(list(family.values()), error_rate), strict=True))
    return [verdicts[number] for number in range(len(examined))]


def with_effects(verdicts: Sequence[GateVerdict], supporting_failures: int) -> tuple[GateVerdict, ...]:
    """The verdicts, each with whether it fails the gate.

    A failed critical check fails the gate, an advisory one never does. Supporting checks fail it if more failed than
    the policy allows; one with incomplete results always does, because its outcome is unknown.
    """
    failed = sum(verdict.tier == "supporting" and not verdict.passes for verdict in verdicts)
    too_many = failed > supporting_failures

    def fails(verdict: GateVerdict) -> bool:
        supporting = verdict.tier == "supporting" and (too_many or not verdict.complete)
        return not verdict.passes and (verdict.tier == "critical" or supporting)

    return tuple(replace(verdict, fails_gate=fails(verdict)) for verdict in verdicts)


def _not_shown(tests: Sequence[GateVerdict | DropTest]) -> Iterator[float]:
    """False-alarm probabilities of the checks that must show something and can fail the gate."""
    for test in tests:
        if isinstance(test, DropTest) and test.check.must_be_shown and test.check.tier != "advisory":
            limit = test.check.limit / test.metric.scale
            yield 0.0 if test.certain else chance_not_shown(Spread.of(test.pairs), limit, test.check)
