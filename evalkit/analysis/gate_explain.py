"""The drops that the rules of a policy detect with a number of samples, before a candidate has run."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from evalkit.analysis.comparison import ComparedRun
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.gate_drops import DropTest, prepare_drop, refuse_untestable
from evalkit.analysis.gate_false_alarm import FalseAlarm, chance_not_shown, false_alarm
from evalkit.analysis.gate_targets import Target, choose, select
from evalkit.analysis.pairing import pair_rows
from evalkit.analysis.policy import Check, Kind, Policy, Tier
from evalkit.errors import UsageError
from evalkit.records.metrics import Metric, metric_of
from evalkit.statistics.family import first_level
from evalkit.statistics.power import Spread, above, at_most, detectable_drop, pairs_needed

CHANGED = 0.1
"""Assumed share of answers that differ between two runs."""
_TESTS = ("max_drop", "non_inferior")
# A drop of this many standard errors is detected by any test of three losses or more.
_FAR = 1e4


@dataclass(frozen=True, slots=True)
class ExplainedCheck:
    """The power of one check on one target; drops are in the row's unit."""

    rule: str
    target: str
    kind: Kind
    limit: float
    tier: Tier
    unit: str = "points"
    level: float | None = None
    """One-sided error level of failing on evidence of a drop, after correction for the policy's other tests."""
    pairs: int | None = None
    detectable: float | None = None
    """Smallest true drop that fails the check with a probability of 80 %."""
    fails_without_drop: float | None = None
    samples_needed: int | None = None
    """Samples per task and length after which a run without a drop shows with a probability of 80 % that its drop is
    at most the limit; None if no number does."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The power of a policy."""

    policy: str
    base: tuple[ComparedRun, ...]
    new: tuple[ComparedRun, ...]
    samples: int | None
    """Samples per task and length; None: as many as the runs have."""
    changed: float | None
    """Assumed share of changed answers; None: the spread is that of the pairs of BASE and NEW."""
    error_rate: float
    checks: tuple[ExplainedCheck, ...]
    false_alarm: FalseAlarm


@dataclass(frozen=True, slots=True)
class _Test:
    """A check of a drop on one target, before it is decided."""

    check: Check
    target: str
    metric: Metric
    tasks: int
    spread: Spread | None
    """None if it is unknown."""
    note: str = ""

    @property
    def limit(self) -> float:
        return self.check.limit / self.metric.scale


def explain(
    policy: Policy,
    base: Sequence[StoredRun],
    new: Sequence[StoredRun],
    *,
    samples: int | None,
    changed: float,
    suites: Mapping[str, Sequence[str]],
) -> Explanation:
    """Compute what each check of a policy detects with `samples` per task and length.

    With BASE and NEW the spread is that of their pairs. With BASE alone the selectors select from its rows, and a
    candidate is assumed to change the share `changed` of the answers, as many for the better as for the worse.
    Without runs the tasks are those of `suites`. Raises UsageError if it is unknown what a rule selects.
    """
    if new:
        tests = list(_observed(policy, base, new, samples))
    elif base:
        tests = _of_base(policy, base, samples, changed)
    else:
        rows = _suite_rows(policy, suites, samples)
        targets = [*(row.target for row in rows), *dict.fromkeys(row.mean for row in rows)]
        tests = list(_assumed(policy, lambda check: choose(check.selector, targets), rows, changed))
    others = [check for check in policy.checks if check.kind not in _TESTS]
    not_shown = (
        1.0 if test.spread is None else chance_not_shown(test.spread, test.limit, test.check)
        for test in tests
        if test.check.must_be_shown and test.check.tier != "advisory"
    )
    return Explanation(
        policy=policy.path,
        base=tuple(ComparedRun.of(run) for run in base),
        new=tuple(ComparedRun.of(run) for run in new),
        samples=samples,
        changed=None if new else changed,
        error_rate=policy.error_rate,
        checks=(
            *(_explained(test, level) for test, level in _with_levels(tests, policy.error_rate)),
            *(_not_a_test(check) for check in others),
        ),
        false_alarm=false_alarm([*(test.check for test in tests), *others], policy.error_rate, not_shown),
    )


def power(policy: Policy, base: Sequence[StoredRun], drop: float, *, samples: int, changed: float) -> dict[str, float]:
    """For each selector of BASE the probability that its check fails a true drop of `drop` in its unit.

    As `explain`, for BASE alone; a selector of unknown spread is left out.
    """
    tests = _with_levels(_of_base(policy, base, samples, changed), policy.error_rate)
    return {
        test.check.selector.text: _failing(test, test.spread, level)(drop / test.metric.scale)
        for test, level in tests
        if test.spread is not None
    }


def _of_base(policy: Policy, base: Sequence[StoredRun], samples: int | None, changed: float) -> list[_Test]:
    of_base = {run.record.suite: run for run in base}
    return list(_assumed(policy, lambda check: select(check, of_base, {}), _run_rows(base, samples), changed))


def _with_levels(tests: Sequence[_Test], error_rate: float) -> Iterator[tuple[_Test, float | None]]:
    """Each test with the level of its first step among all drops that are tested; None if it is not one of them."""
    sharing = Counter(test.check.tier == "advisory" for test in tests if test.check.kind == "max_drop")
    for test in tests:
        shared = sharing[test.check.tier == "advisory"]
        yield test, first_level(test.check.level, error_rate, shared) if test.check.kind == "max_drop" else None


def _explained(test: _Test, level: float | None) -> ExplainedCheck:
    check, spread, limit = test.check, test.spread, test.limit
    known = ExplainedCheck(
        check.selector.text, test.target, check.kind, check.limit, check.tier, test.metric.unit, level, note=test.note
    )
    if spread is None:
        return known
    fails = _failing(test, spread, level)
    farthest = 1.0 if spread.kind != "losses" else limit + _FAR * spread.error()
    detectable = detectable_drop(fails, farthest)
    needed = pairs_needed(spread, limit, check.level)
    return replace(
        known,
        pairs=spread.pairs,
        detectable=None if detectable is None else test.metric.scale * detectable,
        fails_without_drop=fails(0.0),
        samples_needed=None if needed is None else -(-needed // test.tasks),
    )


def _failing(test: _Test, spread: Spread, level: float | None) -> Callable[[float], float]:
    """Probability that the check fails a true drop."""
    if level is not None and not test.check.must_be_shown:
        return lambda drop: above(spread, drop, test.limit, level)
    return lambda drop: 1 - at_most(spread, drop, test.limit, test.check.level)


def _not_a_test(check: Check) -> ExplainedCheck:
    return ExplainedCheck(
        check.selector.text,
        check.selector.text,
        check.kind,
        check.limit,
        check.tier,
        note="compared as measured, without a test",
    )


# --- with BASE and NEW


def _observed(
    policy: Policy, base: Sequence[StoredRun], new: Sequence[StoredRun], samples: int | None
) -> Iterator[_Test]:
    """The tests of a gate, with the spread of their pairs scaled to `samples` per task and length."""
    of_base, of_new = ({run.record.suite: run for run in side} for side in (base, new))
    for check in (check for check in policy.checks if check.kind in _TESTS):
        for target in select(check, of_base, of_new):
            if target.suite not in of_base or target.suite not in of_new:
                raise UsageError(f"rule {check.selector.text!r}: both BASE and NEW need a run of {target.suite}")
            pairing = pair_rows(of_base[target.suite], of_new[target.suite])
            test = prepare_drop(pairing, check, target, policy.expectation(target.suite))
            if isinstance(test, DropTest):
                spread = Spread.of(test.pairs)
                if samples is not None:
                    spread = spread.scaled(samples * test.tasks)
                yield _Test(check, target.label, test.metric, test.tasks, spread)
            else:
                yield _Test(check, target.label, metric_of(""), 1, None, test.reason)


# --- without NEW


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that a run will have."""

    target: Target
    samples: int
    metric: Metric
    whole: bool
    """Whether its answers are right or wrong, without partial credit."""
    by_sample: bool = False
    """Whether the suite's mean is over samples, not over tasks."""

    @property
    def mean(self) -> Target:
        """The suite's mean at the row's length."""
        return Target("mean", self.target.suite, "", self.target.ctx)


def _run_rows(base: Sequence[StoredRun], samples: int | None) -> list[_Row]:
    """The rows of BASE's runs."""
    rows = []
    for run in base:
        record, cells = run.record, run.cells()
        means = {row.ctx: row for row in record.summary}
        for row in record.results:
            scores = {sample.score for sample in cells.get(row.cell, ()) if sample.score is not None}
            target = Target("row", record.suite, *row.cell)
            mean = means.get(row.ctx)
            by_sample = mean is not None and mean.by_sample
            rows.append(_Row(target, samples or row.n, metric_of(row.metric), scores <= {0.0, 1.0}, by_sample))
    return rows


def _suite_rows(policy: Policy, suites: Mapping[str, Sequence[str]], samples: int | None) -> list[_Row]:
    """The rows of whole suites, at the lengths that the policy names."""
    if samples is None:
        raise UsageError("--samples is missing: without BASE the number of samples per task is unknown")
    rows = []
    checks = [check for check in policy.checks if check.kind in _TESTS]
    for suite in dict.fromkeys(check.selector.name for check in checks):
        expected = policy.expectation(suite).tasks
        tasks = [
            task for task in suites.get(suite, ()) if not expected or any(fnmatchcase(task, name) for name in expected)
        ]
        if not tasks:
            raise UsageError(f"rule {suite!r}: what it selects is known only from a run; name BASE")
        ctxs = dict.fromkeys(check.selector.ctx for check in checks if check.selector.name == suite)
        known = [ctx for ctx in ctxs if ctx is not None] or [0]
        rows += [
            _Row(Target("row", suite, task, ctx), samples, metric_of(""), whole=True) for ctx in known for task in tasks
        ]
    return rows


def _assumed(
    policy: Policy, selected: Callable[[Check], Sequence[Target]], rows: Sequence[_Row], changed: float
) -> Iterator[_Test]:
    """The tests of a policy on `rows`, of which a candidate changes an assumed share of answers."""
    for check in (check for check in policy.checks if check.kind in _TESTS):
        for target in selected(check):
            refuse_untestable(check, target)
            expected = policy.expectation(target.suite).tasks if target.role == "mean" else ()
            behind = [
                row
                for row in rows
                if target in (row.target, row.mean)
                and (not expected or any(fnmatchcase(row.target.name, task) for task in expected))
            ]
            yield _assumed_test(check, target, behind, changed)


def _assumed_test(check: Check, target: Target, rows: Sequence[_Row], changed: float) -> _Test:
    if not rows or min(row.samples for row in rows) == 0:
        raise UsageError(f"rule {check.selector.text!r}: BASE has no score for {target.label}; make a new baseline")
    metric, sizes = rows[0].metric, [row.samples for row in rows]
    if not metric.bounded:
        note = "the spread of losses between two runs is known only from pairs; name NEW"
        return _Test(check, target.label, metric, len(rows), None, note)
    pairs = sum(sizes)
    # A pair weighs 1 / (tasks × samples of its task), unless samples weigh alike in the suite's mean.
    alike = rows[0].by_sample or min(sizes) == max(sizes)
    spread = Spread(
        kind="answers" if alike and all(row.whole for row in rows) else "fractions",
        pairs=pairs,
        square=changed if alike else changed * pairs * sum(1 / size for size in sizes) / len(rows) ** 2,
        heaviest=1.0 if alike else pairs / (len(rows) * min(sizes)),
        strata=len(rows),
    )
    return _Test(check, target.label, metric, len(rows), spread)
