"""A gate's policy: a YAML file that says of which rows what must hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evalkit.analysis.selectors import COSTS, Selector
from evalkit.errors import UsageError
from evalkit.statistics.intervals import CONFIDENCE
from evalkit.strict_yaml import read_yaml, refuse_unknown

Kind = Literal["max_drop", "non_inferior", "min", "max_increase"]
KINDS: tuple[Kind, ...] = ("max_drop", "non_inferior", "min", "max_increase")
_RULE_KEYS = (*KINDS, "confidence", "undecided")
_POLICY_KEYS = ("rules", "confidence", "undecided")
# Infinity and NaN are not below it, and neither is an integer that no float holds.
_HUGE = 1e300


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold of what a selector selects."""

    selector: Selector
    kind: Kind
    limit: float
    """Points or the row's unit; of `max_increase` a fraction: 0.05 is 5 %."""
    confidence: float
    undecided_passes: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """All checks of a policy file, in its order."""

    path: str
    checks: tuple[Check, ...]


def load_policy(path: Path) -> Policy:
    """Read a policy; UsageError names the file and the rule of whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"policy {path} cannot be read: {reason}; `evalkit gate --init BASE` writes one") from None
    try:
        return Policy(str(path), parse_policy(text))
    except UsageError as error:
        raise UsageError(f"policy {path}: {error}") from None


def parse_policy(text: str) -> tuple[Check, ...]:
    """The checks of a policy's text, in its order."""
    data = read_yaml(text)
    if not isinstance(data, dict) or not isinstance(data.get("rules"), dict):
        raise UsageError("it needs a mapping `rules:` of selectors to rules, such as `ruler@65536: {max_drop: 1.0}`")
    refuse_unknown("key", data, _POLICY_KEYS)
    confidence = _confidence(data.get("confidence", CONFIDENCE))
    undecided = _undecided(data.get("undecided", "pass"))
    checks = [check for key, rule in data["rules"].items() for check in _rule(key, rule, confidence, undecided)]
    if not checks:
        raise UsageError("it has no rule, so nothing would ever fail")
    return tuple(checks)


def _rule(key: Any, rule: Any, confidence: float, undecided_passes: bool) -> list[Check]:
    if not isinstance(key, str):
        raise UsageError(f"{key!r} is no selector; write suite, suite/task or suite/task@65536")
    try:
        selector = Selector.parse(key)
        if not isinstance(rule, dict):
            raise UsageError(f"{rule!r} is no rule; write {{max_drop: 1.0}}")
        refuse_unknown("key", rule, _RULE_KEYS)
        kinds = [kind for kind in KINDS if kind in rule]
        if not kinds:
            raise UsageError(f"it asks for nothing; give one of {', '.join(KINDS)}")
        own = _confidence(rule["confidence"]) if "confidence" in rule else confidence
        passes = _undecided(rule["undecided"]) if "undecided" in rule else undecided_passes
        _refuse_idle(rule, kinds)
        return [Check(selector, kind, _limit(kind, rule[kind], selector), own, passes) for kind in kinds]
    except UsageError as error:
        raise UsageError(f"rule {key!r}: {error}") from None


def _refuse_idle(rule: Mapping[str, Any], kinds: list[Kind]) -> None:
    """Refuse what a rule says and no check of it would read."""
    if "confidence" in rule and not {"max_drop", "non_inferior"} & set(kinds):
        raise UsageError("confidence belongs to max_drop and non_inferior, which look at an interval")
    if "undecided" in rule and "max_drop" not in kinds:
        raise UsageError("undecided belongs to max_drop; no other check leaves anything undecided")


def _limit(kind: Kind, value: Any, selector: Selector) -> float:
    is_cost = selector.name in COSTS or selector.task in COSTS
    if kind == "max_increase":
        if not is_cost:
            raise UsageError(f"max_increase is for {', '.join(COSTS)}; a score or loss is held with max_drop")
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", value) if isinstance(value, str) else None
        if match is None:
            raise UsageError(f"max_increase is {value!r}; write a percentage, such as 5%")
        return float(match[1]) / 100
    if is_cost:
        raise UsageError(f"{kind} is for scores; times and memory are held with max_increase, such as 5%")
    number = _number(kind, value)
    if kind in ("max_drop", "non_inferior") and number < 0:
        raise UsageError(f"{kind} is {value!r}; it must be at least 0")
    return number


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


def _number(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and -_HUGE < value < _HUGE:
        return float(value)
    raise UsageError(f"{name} is {value!r}; it must be a number")
