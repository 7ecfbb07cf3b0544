"""The policy of a gate: a YAML file with the rules for a new run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from evalkit.analysis.selectors import COSTS, Selector
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.files import reading
from evalkit.statistics.intervals import CONFIDENCE
from evalkit.strict_yaml import read_fields, read_yaml

Kind = Literal["max_drop", "non_inferior", "min", "max_increase"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Tier = Literal["critical", "supporting", "advisory"]
TIERS: tuple[Tier, ...] = get_args(Tier)
ERROR_RATE = 0.05
ERROR_RATES = (1e-6, 0.5)
# Infinity and NaN are not below it.
_HUGE = 1e300
_ROUNDING = 1e-12

Number = Annotated[float, Meta(gt=-_HUGE, lt=_HUGE, description="a number")]
NotNegative = Annotated[float, Meta(ge=0, lt=_HUGE, description="a number, at least 0")]
Confidence = Annotated[float, Meta(ge=0.5, lt=1, description="at least 0.5 and below 1, such as 0.95")]
Undecided = Annotated[Literal["pass", "fail"], Meta(description="pass or fail")]
Percentage = Annotated[
    str, Meta(pattern=r"^\s*[0-9]{1,15}(\.[0-9]{1,15})?\s*%\s*$", description="a percentage, such as 5%")
]


@dataclass(frozen=True, slots=True)
class Check:
    """One condition on everything that a selector selects."""

    selector: Selector
    kind: Kind
    limit: float
    """In points or the row's unit; for `max_increase` a fraction: 0.05 is 5 %."""
    confidence: float
    undecided_passes: bool
    tier: Tier = "critical"
    """critical: a failure fails the gate; supporting: more failures than the policy allows do; advisory: none does."""
    max_unscored: float = 0.0
    """Share of a row's samples that may have no score, because they errored or could not be run."""

    @property
    def level(self) -> float:
        """The one-sided error level that `confidence` leaves at each end of the interval."""
        return (1 - self.confidence) / 2

    @property
    def must_be_shown(self) -> bool:
        """Whether the check fails unless the samples show that the drop is at most the limit."""
        return self.kind == "non_inferior" or (self.kind == "max_drop" and not self.undecided_passes)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the runs of one suite have, if that is less than the whole suite or than BASE."""

    tasks: tuple[str, ...] = ()
    """Names or globs of the tasks behind its means and figures; empty: the whole suite."""
    samples: int | None = None
    """Least number of samples per task and length; None: as many as BASE has."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All checks of a policy file in order, and their common settings."""

    path: str
    checks: tuple[Check, ...]
    error_rate: float = ERROR_RATE
    """Upper bound of the probability of any false failure, for all `max_drop` tests together."""
    supporting_failures: int = 0
    """Supporting checks that may fail."""
    expect: Mapping[str, Expectation] = field(default_factory=dict)
    """By suite."""

    def expectation(self, suite: str) -> Expectation:
        return self.expect.get(suite, Expectation())


def load_policy(path: Path) -> Policy:
    """Read a policy; UsageError names the file and the rule that is wrong."""
    with reading(f"policy {path}", "`evalkit gate --init BASE` writes one"):
        text = path.read_text(encoding="utf-8")
    try:
        return parse_policy(text, str(path))
    except UsageError as error:
        raise UsageError(f"policy {path}: {error}") from None


@dataclass(frozen=True, slots=True)
class _PolicyFile:
    """The keys of a policy file."""

    rules: Annotated[
        dict[Any, Any], Meta(description="a mapping of selectors to rules, such as `ruler@65536: {max_drop: 1.0}`")
    ]
    error_rate: Percentage = f"{100 * ERROR_RATE:g}%"
    confidence: Confidence | None = None
    undecided: Undecided = "pass"
    max_unscored: Percentage = "0%"
    supporting_failures: Annotated[int, Meta(ge=0, description="a whole number, at least 0")] | None = None
    expect: Annotated[
        dict[str, Any], Meta(description="a mapping of suites, such as `ruler: {tasks: [vt, cwe], samples: 20}`")
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _RuleFields:
    """The keys of a rule; None takes the policy's value."""

    max_drop: NotNegative | None = None
    non_inferior: NotNegative | None = None
    min: Number | None = None
    max_increase: Percentage | None = None
    confidence: Confidence | None = None
    undecided: Undecided | None = None
    tier: Annotated[Tier, Meta(description=f"one of {', '.join(TIERS)}")] = "critical"
    max_unscored: Percentage | None = None


@dataclass(frozen=True, slots=True)
class _ExpectFields:
    """The keys of what is expected of a suite."""

    tasks: Annotated[str | tuple[str, ...], Meta(description="a list of names, or '*' for all tasks of the runs")] = ()
    samples: Annotated[int, Meta(ge=1, description="a whole number, at least 1")] | None = None


def parse_policy(text: str, path: str = "gate.yaml") -> Policy:
    """The policy that `text` states; `path` is what reports call it."""
    data = read_fields(_PolicyFile, read_yaml(text))
    error_rate = _error_rate(data.error_rate)
    checks = [check for key, rule in data.rules.items() for check in _rule(key, rule, data)]
    if not checks:
        raise UsageError("it has no rule, so it would pass everything")
    return Policy(
        path=path,
        checks=tuple(checks),
        error_rate=error_rate,
        supporting_failures=_supporting_failures(data.supporting_failures, checks),
        expect=_expectations(data.expect, checks),
    )


def _rule(key: Any, rule: Any, policy: _PolicyFile) -> list[Check]:
    if not isinstance(key, str):
        raise UsageError(f"{key!r} is no selector; write suite, suite/task or suite/task@65536")
    try:
        selector = Selector.parse(key)
        fields = read_fields(_RuleFields, rule)
        limits = {kind: value for kind in KINDS if (value := getattr(fields, kind)) is not None}
        if not limits:
            raise UsageError(f"it states no condition; give one of {', '.join(KINDS)}")
        _refuse_idle(fields, limits)
        error_rate = _error_rate(policy.error_rate)
        # A test's own level bounds its level in the family.
        confidence = fields.confidence or policy.confidence or max(CONFIDENCE, 1 - 2 * error_rate)
        checks = [
            Check(
                selector=selector,
                kind=kind,
                limit=_limit(kind, value, selector),
                confidence=confidence,
                undecided_passes=(fields.undecided or policy.undecided) == "pass",
                tier=fields.tier,
                max_unscored=_max_unscored(fields.max_unscored or policy.max_unscored),
            )
            for kind, value in limits.items()
        ]
        _refuse_loose(checks, error_rate)
        return checks
    except UsageError as error:
        raise UsageError(f"rule {key!r}: {error}") from None


def _refuse_idle(fields: _RuleFields, kinds: Collection[Kind]) -> None:
    """Raise UsageError for a key that no check of the rule uses."""
    if fields.confidence is not None and not {"max_drop", "non_inferior"} & set(kinds):
        raise UsageError("confidence belongs to max_drop and non_inferior, which look at an interval")
    if fields.undecided is not None and "max_drop" not in kinds:
        raise UsageError("undecided belongs to max_drop; no other check leaves anything undecided")


def _refuse_loose(checks: Sequence[Check], error_rate: float) -> None:
    """Refuse a confidence that the error rate of the policy would overrule."""
    for check in checks:
        if check.kind == "max_drop" and check.level > error_rate + _ROUNDING:
            raise UsageError(
                f"confidence {check.confidence:g} gives a test a false-alarm probability of {100 * check.level:g}%, "
                f"above error_rate: {100 * error_rate:g}%; raise confidence to at least {1 - 2 * error_rate:g}, or "
                "raise error_rate"
            )


def _limit(kind: Kind, value: float | str, selector: Selector) -> float:
    is_cost = selector.name in COSTS or selector.task in COSTS
    if isinstance(value, str):  # of max_increase
        if not is_cost:
            raise UsageError(f"max_increase is for {', '.join(COSTS)}; use max_drop for a score or a loss")
        return _fraction(value)
    if is_cost:
        raise UsageError(f"{kind} is for scores; use max_increase, such as 5%, for times and memory")
    return value


def _supporting_failures(value: int | None, checks: Sequence[Check]) -> int:
    supporting = sum(check.tier == "supporting" for check in checks)
    if value is None and supporting:
        raise UsageError(
            "its supporting rules need `supporting_failures: N`, the number of supporting checks that may fail"
        )
    if value is not None and not supporting:
        raise UsageError("supporting_failures needs rules with `tier: supporting`, and there are none")
    return value or 0


def _expectations(expect: Mapping[str, Any], checks: Sequence[Check]) -> dict[str, Expectation]:
    suites = {check.selector.name for check in checks}
    for suite in expect:
        if suite not in suites and not suites & set(COSTS):
            raise UsageError(f"expect: no rule selects suite {suite!r}{did_you_mean(suite, suites)}")
    return {suite: _expectation(f"expect: {suite}", content) for suite, content in expect.items()}


def _expectation(where: str, value: Any) -> Expectation:
    fields = read_fields(_ExpectFields, value, where=f"{where}: ")
    if not value:
        raise UsageError(f"{where} is {value!r}; write a mapping such as {{tasks: [vt, cwe], samples: 20}}")
    tasks = (fields.tasks,) if isinstance(fields.tasks, str) else fields.tasks
    if "tasks" in value and (not all(tasks) or not len(tasks) == len(set(tasks)) > 0):
        raise UsageError(f"{where}: tasks is {value['tasks']!r}; name at least one task, and none twice")
    return Expectation(tasks, fields.samples)


def _max_unscored(text: str) -> float:
    share = _fraction(text)
    if share >= 1:
        raise UsageError(f"max_unscored is {text!r}; it must be below 100%")
    return share


def _error_rate(text: str) -> float:
    rate = _fraction(text)
    least, most = ERROR_RATES
    if not least <= rate <= most:
        raise UsageError(f"error_rate is {text!r}; it must be from {100 * least:f}% to {100 * most:g}%")
    return rate


def _fraction(percentage: str) -> float:
    return float(percentage.replace("%", "")) / 100
