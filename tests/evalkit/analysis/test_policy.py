"""Policies are read strictly: errors name their rule."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.policy import Expectation, load_policy, parse_policy
from evalkit.analysis.selectors import Selector
from evalkit.errors import UsageError

POLICY = """
confidence: 0.9
undecided: fail
rules:
  ruler@65536: {max_drop: 1.0, confidence: 0.95, undecided: pass}
  "ruler/niah_*@32K": {min: 80}
  mmlu: {non_inferior: 0.5}
  prefill_seconds: {max_increase: 5%}
  extend/effective_length: {min: 32768}
"""


def test_the_rules_of_a_policy() -> None:
    drop, floor, mmlu, time, length = parse_policy(POLICY).checks
    assert (drop.kind, drop.limit, drop.confidence, drop.undecided_passes) == ("max_drop", 1.0, 0.95, True)
    assert (drop.selector.name, drop.selector.task, drop.selector.ctx) == ("ruler", None, 65536)
    assert (floor.kind, floor.limit) == ("min", 80.0)
    assert (floor.selector.name, floor.selector.task, floor.selector.ctx) == ("ruler", "niah_*", 32768)
    assert (mmlu.kind, mmlu.confidence, mmlu.undecided_passes) == ("non_inferior", 0.9, False)
    assert (time.kind, time.limit) == ("max_increase", 0.05)
    assert length.selector.task == "effective_length"


def test_one_rule_can_ask_for_several_things() -> None:
    policy = parse_policy("rules: {ruler: {min: 80, max_drop: 1}}")
    assert [check.kind for check in policy.checks] == ["max_drop", "min"]


def test_what_a_policy_does_not_state() -> None:
    policy = parse_policy("rules: {ruler: {max_drop: 1}}")
    (check,) = policy.checks
    assert (policy.error_rate, policy.supporting_failures, policy.expect) == (0.05, 0, {})
    assert (check.confidence, check.undecided_passes, check.tier, check.max_unscored) == (0.95, True, "critical", 0.0)
    assert parse_policy("error_rate: 1%\nrules: {ruler: {max_drop: 1}}").checks[0].confidence == 0.98


def test_what_checks_share() -> None:
    policy = parse_policy(
        "error_rate: 10%\nmax_unscored: 2%\nsupporting_failures: 1\n"
        "expect: {ruler: {tasks: [vt, cwe], samples: 20}, mmlu: {tasks: '*'}}\n"
        "rules: {ruler: {max_drop: 1, tier: supporting, confidence: 0.8}, mmlu: {min: 5, max_unscored: 0%}}"
    )
    assert (policy.error_rate, policy.supporting_failures) == (0.1, 1)
    assert policy.expectation("ruler") == Expectation(("vt", "cwe"), 20)
    assert policy.expectation("mmlu") == Expectation(("*",), None)
    assert policy.expectation("track") == Expectation()
    assert [(check.tier, check.max_unscored) for check in policy.checks] == [("supporting", 0.02), ("critical", 0.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty; its keys are rules, error_rate"),
        ("- a", "\\['a'\\] is no mapping; its keys are rules, error_rate.*"),
        (
            "rules: []",
            "rules is \\[\\]; it must be a mapping of selectors to rules.*",
        ),
        ("rules: {}", "it has no rule, so it would pass everything"),
        ("rule: {a: {min: 1}}", "unknown key 'rule'; did you mean 'rules'?"),
        ("undecided: pass", "rules is missing; it must be a mapping of selectors"),
        ("rules: {a: {min: 1}}\nundecided: ", "undecided has no value; it must be pass or fail"),
        ("rules: {a: {min: 1, max_drop: }}", "max_drop has no value; it must be a number, at least 0"),
        ("rules: {a: {min: 1}}\nundecide: pass", "unknown key 'undecide'; did you mean 'undecided'?"),
        ("rules: {ruler: {max_dorp: 1}}", "rule 'ruler': unknown key 'max_dorp'; did you mean 'max_drop'?"),
        ("rules: {ruler: 3}", "rule 'ruler': 3 is no mapping; its keys are max_drop"),
        ("rules: {ruler: {}}", "rule 'ruler': it states no condition"),
        ("rules: {ruler: {confidence: 0.9}}", "rule 'ruler': it states no condition"),
        ("rules: {7: {min: 1}}", "7 is no selector"),
        ("rules: {'/vt': {min: 1}}", "rule '/vt': '/vt' selects nothing"),
        ("rules: {'ruler@': {min: 1}}", "rule 'ruler@': 'ruler@' selects nothing"),
        ("rules: {'ruler@4.5K': {min: 1}}", "'ruler@4.5K' selects nothing"),
        ("rules: {ruler: {max_drop: -1}}", "max_drop is -1; it must be a number, at least 0"),
        ("rules: {ruler: {max_drop: '1'}}", "max_drop is '1'; it must be a number"),
        ("rules: {ruler: {max_drop: true}}", "max_drop is True; it must be a number"),
        ("rules: {ruler: {max_drop: .nan}}", "max_drop is nan; it must be a number"),
        ("rules: {ruler: {min: .inf}}", "min is inf; it must be a number"),
        (
            "rules: {ruler: {max_drop: 1, confidence: 95}}",
            "confidence is 95; it must be at least 0.5 and below 1, such as",
        ),
        ("rules: {ruler: {max_drop: 1, confidence: 1}}", "confidence is 1; it must be at least 0.5 and below 1"),
        ("rules: {ruler: {max_drop: 1, undecided: maybe}}", "undecided is 'maybe'; it must be pass or fail"),
        ("rules: {ruler: {min: 1, confidence: 0.9}}", "confidence belongs to max_drop and non_inferior"),
        ("rules: {ruler: {non_inferior: 1, undecided: fail}}", "undecided belongs to max_drop"),
        ("rules: {ruler: {max_increase: 5%}}", "max_increase is for prefill_seconds"),
        ("rules: {prefill_seconds: {max_increase: 0.05}}", "max_increase is 0.05; it must be a percentage"),
        ("rules: {prefill_seconds: {max_increase: -5%}}", "max_increase is '-5%'; it must be a percentage"),
        ("rules: {peak_memory: {max_drop: 1}}", "max_drop is for scores"),
        (
            "rules: {ruler: {min: 1, tier: critcal}}",
            "tier is 'critcal'; it must be one of critical, supporting",
        ),
        ("rules: {ruler: {min: 1, tier: supporting}}", "its supporting rules need `supporting_failures: N`"),
        ("supporting_failures: 1\nrules: {ruler: {min: 1}}", "supporting_failures needs rules with `tier: supporting`"),
        (
            "supporting_failures: x\nrules: {a: {min: 1, tier: supporting}}",
            "supporting_failures is 'x'; it must be",
        ),
        (
            "supporting_failures: -1\nrules: {a: {min: 1, tier: supporting}}",
            "supporting_failures is -1; it must be",
        ),
        ("error_rate: 0.05\nrules: {a: {max_drop: 1}}", "error_rate is 0.05; it must be a percentage, such as 5%"),
        ("error_rate: 0%\nrules: {a: {max_drop: 1}}", "error_rate is '0%'; it must be from 0.000100% to 50%"),
        ("error_rate: 51%\nrules: {a: {max_drop: 1}}", "error_rate is '51%'; it must be from"),
        (
            "rules: {a: {max_drop: 1, confidence: 0.5}}",
            "rule 'a': confidence 0.5 gives a test a false-alarm probability of 25%, above error_rate: 5%; raise "
            "confidence to at least 0.9, or raise error_rate",
        ),
        ("max_unscored: 2\nrules: {a: {min: 1}}", "max_unscored is 2; it must be a percentage"),
        ("rules: {a: {min: 1, max_unscored: 100%}}", "max_unscored is '100%'; it must be below 100%"),
        ("expect: [a]\nrules: {a: {min: 1}}", "expect is \\['a'\\]; it must be a mapping.*"),
        ("expect: {b: {samples: 3}}\nrules: {a: {min: 1}}", "expect: no rule selects suite 'b'; known: a"),
        ("expect: {a: {}}\nrules: {a: {min: 1}}", "expect: a is {}; write a mapping"),
        ("expect: {a: {task: x}}\nrules: {a: {min: 1}}", "expect: a: unknown key 'task'; did you mean 'tasks'?"),
        ("expect: {a: {tasks: []}}\nrules: {a: {min: 1}}", "name at least one task, and none twice"),
        ("expect: {a: {tasks: [b, b]}}\nrules: {a: {min: 1}}", "name at least one task, and none twice"),
        ("expect: {a: {tasks: 3}}\nrules: {a: {min: 1}}", "expect: a: tasks is 3; it must be a list of names"),
        ("expect: {a: {samples: 0}}\nrules: {a: {min: 1}}", "samples is 0; it must be a whole number, at least 1"),
        (
            "expect: {3: {samples: 1}}\nrules: {a: {min: 1}}",
            "expect is {3: {'samples': 1}}; it must be a mapping of suites",
        ),
        (f"rules:\n  a: {{min: 0x{'f' * 5000}}}", "a number in line 2 has more than 300 digits"),
        ("rules: {a: {min: 1}, a: {min: 2}}", "'a' is there twice"),
        ("rules: {a: {min: 1, min: 2}}", "'min' is there twice"),
        ("rules: {a: {min: 1", "not YAML"),
        ("rules: !!python/object:os.system {}", "not YAML"),
        ("a: \x00", "not YAML"),
        ("&a [*a]", "is no mapping"),
        ("rules: {[1]: {min: 1}}", "\\[1\\] is no selector|not YAML"),
    ],
)
def test_what_is_wrong_is_reported(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", "\\?").replace("*", "\\*") if ".*" not in said else said):
        parse_policy(text)


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    with pytest.raises(UsageError, match=r"gate\.yaml cannot be read: No such file"):
        load_policy(path)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match=r"gate\.yaml cannot be read: it is not UTF-8"):
        load_policy(path)
    path.write_text("rules: {ruler: {max_dorp: 1}}")
    with pytest.raises(UsageError, match=r"policy .*gate\.yaml: rule 'ruler': unknown key"):
        load_policy(path)
    path.write_text(POLICY)
    assert len(load_policy(path).checks) == 5


@given(st.text(max_size=60))
def test_any_text_is_a_policy_or_refused_in_one_line(text: str) -> None:
    try:
        parse_policy(text)
    except UsageError:
        return
    assert "rules" in text


@given(st.text(max_size=30))
def test_any_key_is_a_selector_or_refused(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except UsageError:
        return
    assert selector.text == text
    assert selector.name
