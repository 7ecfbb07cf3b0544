"""A gate's policy: a YAML file that says what a new run must hold."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.analysis.selectors import COSTS, Selector
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.statistics.intervals import CONFIDENCE
from evalkit.strict_yaml import read_yaml, refuse_unknown

Kind = Literal["max_drop", "non_inferior", "min", "max_increase"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Tier = Literal["critical", "supporting", "advisory"]
TIERS: tuple[Tier, ...] = get_args(Tier)
ERROR_RATE = 0.05
ERROR_RATES = (1e-6, 0.5)
_RULE_KEYS = (*KINDS, "confidence", "undecided", "tier", "max_unscored")
_POLICY_KEYS = ("rules", "error_rate", "confidence", "undecided", "max_unscored", "supporting_failures", "expect")
_EXPECT_KEYS = ("tasks", "samples")
# Infinity and NaN are not below it, and neither is an integer that no float holds.
_HUGE = 1e300
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Check:
    """One condition on everything that a selector selects."""

    selector: Selector
    kind: Kind
    limit: float
    """Points or the row's unit; of `max_increase` a fraction: 0.05 is 5 %."""
    confidence: float
    undecided_passes: bool
    tier: Tier = "critical"
    """critical: a failure fails the gate; supporting: more failures than the policy allows do; advisory: none does."""
    max_unscored: float = 0.0
    """Share of a row's samples that may have no score, because they errored or could not be asked."""

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
    """What the runs of one suite hold, where that is not the whole suite or fewer samples than BASE."""

    tasks: tuple[str, ...] = ()
    """Names or globs of the tasks behind its means and figures; empty: the whole suite."""
    samples: int | None = None
    """Least number of samples per task and length; None: as many as BASE has."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All checks of a policy file in its order, and what they share."""

    path: str
    checks: tuple[Check, ...]
    error_rate: float = ERROR_RATE
    """Of all `max_drop` tests together: the most that the probability of any false failure may be."""
    supporting_failures: int = 0
    """Supporting checks that may fail."""
    expect: Mapping[str, Expectation] = field(default_factory=dict)
    """By suite."""

    def expectation(self, suite: str) -> Expectation:
        return self.expect.get(suite, Expectation())


def load_policy(path: Path) -> Policy:
    """Read a policy; UsageError names the file and the rule of whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"policy {path} cannot be read: {reason}; `evalkit gate --init BASE` writes one") from None
    try:
        return parse_policy(text, str(path))
    except UsageError as error:
        raise UsageError(f"policy {path}: {error}") from None


def parse_policy(text: str, path: str = "gate.yaml") -> Policy:
    """The policy that `text` states; `path` is what reports call it."""
    data = read_yaml(text)
    if not isinstance(data, dict) or not isinstance(data.get("rules"), dict):
        raise UsageError("it needs a mapping `rules:` of selectors to rules, such as `ruler@65536: {max_drop: 1.0}`")
    refuse_unknown("key", data, _POLICY_KEYS)
    error_rate = _error_rate(data.get("error_rate", f"{100 * ERROR_RATE:g}%"))
    defaults = _Defaults(
        # A test that is stricter together with others is not looser alone.
        confidence=_confidence(data.get("confidence", max(CONFIDENCE, 1 - 2 * error_rate))),
        undecided_passes=_undecided(data.get("undecided", "pass")),
        max_unscored=_max_unscored(data.get("max_unscored", "0%")),
        error_rate=error_rate,
    )
    checks = [check for key, rule in data["rules"].items() for check in _rule(key, rule, defaults)]
    if not checks:
        raise UsageError("it has no rule, so nothing would ever fail")
    return Policy(
        path=path,
        checks=tuple(checks),
        error_rate=error_rate,
        supporting_failures=_supporting_failures(data.get("supporting_failures"), checks),
        expect=_expectations(data.get("expect", {}), checks),
    )


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What a rule takes from the policy."""

    confidence: float
    undecided_passes: bool
    max_unscored: float
    error_rate: float


def _rule(key: Any, rule: Any, defaults: _Defaults) -> list[Check]:
    if not isinstance(key, str):
        raise UsageError(f"{key!r} is no selector; write suite, suite/task or suite/task@65536")
    try:
        selector = Selector.parse(key)
        if not isinstance(rule, dict):
            raise UsageError(f"{rule!r} is no rule; write {{max_drop: 1.0}}")
        refuse_unknown("key", rule, _RULE_KEYS)
        kinds = [kind for kind in KINDS if kind in rule]
        if not kinds:
            raise UsageError(f"it states no condition; give one of {', '.join(KINDS)}")
        own = _confidence(rule["confidence"]) if "confidence" in rule else defaults.confidence
        passes = _undecided(rule["undecided"]) if "undecided" in rule else defaults.undecided_passes
        unscored = _max_unscored(rule["max_unscored"]) if "max_unscored" in rule else defaults.max_unscored
        _refuse_idle(rule, kinds)
        tier = _tier(rule.get("tier", "critical"))
        checks = [
            Check(selector, kind, _limit(kind, rule[kind], selector), own, passes, tier, unscored) for kind in kinds
        ]
        _refuse_loose(checks, defaults.error_rate)
        return checks
    except UsageError as error:
        raise UsageError(f"rule {key!r}: {error}") from None


def _refuse_idle(rule: Mapping[str, Any], kinds: Sequence[Kind]) -> None:
    """Refuse a key that no check of the rule reads."""
    if "confidence" in rule and not {"max_drop", "non_inferior"} & set(kinds):
        raise UsageError("confidence belongs to max_drop and non_inferior, which look at an interval")
    if "undecided" in rule and "max_drop" not in kinds:
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


def _limit(kind: Kind, value: Any, selector: Selector) -> float:
    is_cost = selector.name in COSTS or selector.task in COSTS
    if kind == "max_increase":
        if not is_cost:
            raise UsageError(f"max_increase is for {', '.join(COSTS)}; use max_drop for a score or a loss")
        return _percentage(kind, value)
    if is_cost:
        raise UsageError(f"{kind} is for scores; use max_increase, such as 5%, for times and memory")
    number = _number(kind, value)
    if kind in ("max_drop", "non_inferior") and number < 0:
        raise UsageError(f"{kind} is {value!r}; it must be at least 0")
    return number


def _supporting_failures(value: Any, checks: Sequence[Check]) -> int:
    supporting = sum(check.tier == "supporting" for check in checks)
    if value is None:
        if supporting:
            raise UsageError(
                "its supporting rules need `supporting_failures: N`, the number of supporting checks that may fail"
            )
        return 0
    if not supporting:
        raise UsageError("supporting_failures needs rules with `tier: supporting`, and there are none")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"supporting_failures is {value!r}; it must be a whole number, at least 0")
    return value


def _expectations(value: Any, checks: Sequence[Check]) -> dict[str, Expectation]:
    if not isinstance(value, dict):
        raise UsageError(f"expect is {value!r}; write a mapping such as `ruler: {{tasks: [vt, cwe], samples: 20}}`")
    suites = {check.selector.name for check in checks}
    for suite in value:
        if suite not in suites and not suites & set(COSTS):
            raise UsageError(f"expect: no rule selects suite {suite!r}{did_you_mean(str(suite), suites)}")
    return {str(suite): _expectation(f"expect: {suite}", content) for suite, content in value.items()}


def _expectation(where: str, value: Any) -> Expectation:
    if not isinstance(value, dict) or not value:
        raise UsageError(f"{where} is {value!r}; write a mapping such as {{tasks: [vt, cwe], samples: 20}}")
    refuse_unknown(f"key of {where}", value, _EXPECT_KEYS)
    tasks, samples = value.get("tasks"), value.get("samples")
    listed = [tasks] if isinstance(tasks, str) else [] if tasks is None else tasks
    if not isinstance(listed, list) or not all(isinstance(task, str) and task for task in listed):
        raise UsageError(f"{where}: tasks is {tasks!r}; write a list of names, or '*' for whatever the runs hold")
    if tasks is not None and (not listed or len(set(listed)) < len(listed)):
        raise UsageError(f"{where}: tasks is {tasks!r}; name at least one task, and none twice")
    if samples is not None and (not isinstance(samples, int) or isinstance(samples, bool) or samples < 1):
        raise UsageError(f"{where}: samples is {samples!r}; it must be a whole number, at least 1")
    return Expectation(tuple(listed), samples)


def _confidence(value: Any) -> float:
    number = _number("confidence", value)
    if not 0.5 <= number < 1:
        hint = f"; did you mean {number / 100:g}?" if 50 <= number < 100 else ""
        raise UsageError(f"confidence is {value!r}; it must be at least 0.5 and below 1{hint}")
    return number


def _undecided(value: Any) -> bool:
    if value not in ("pass", "fail"):
        raise UsageError(f"undecided is {value!r}; write pass or fail")
    return bool(value == "pass")


def _tier(value: Any) -> Tier:
    for tier in TIERS:
        if value == tier:
            return tier
    raise UsageError(f"tier is {value!r}; write one of {', '.join(TIERS)}{did_you_mean(str(value), TIERS)}")


def _max_unscored(value: Any) -> float:
    share = _percentage("max_unscored", value)
    if share >= 1:
        raise UsageError(f"max_unscored is {value!r}; it must be below 100%")
    return share


def _error_rate(value: Any) -> float:
    rate = _percentage("error_rate", value)
    least, most = ERROR_RATES
    if not least <= rate <= most:
        raise UsageError(f"error_rate is {value!r}; it must be from {100 * least:f}% to {100 * most:g}%")
    return rate


def _percentage(name: str, value: Any) -> float:
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", value) if isinstance(value, str) else None
    # Hundreds of digits are more than a float holds.
    if match is None or float(match[1]) > _HUGE:
        raise UsageError(f"{name} is {value!r}; write a percentage, such as 5%")
    return float(match[1]) / 100


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and -_HUGE < value < _HUGE:
        return float(value)
    raise UsageError(f"{name} is {value!r}; it must be a number")
