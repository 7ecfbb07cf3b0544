"""One-sided tests that share an error rate (Holm, 1979), decided by their confidence bounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LowerBound = Callable[[float], float | None]
"""The lower confidence bound of a test's drop at a one-sided error level; None if there are too few pairs."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class OneSidedTest:
    """A test of the hypothesis that a drop is at most `limit`."""

    lower_bound: LowerBound
    limit: float
    level: float
    """The one-sided error level of this test alone; its share of the common rate can only lower it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one test under the common error rate."""

    rejected: bool
    """Whether the drop is above the limit."""
    level: float
    """The one-sided error level at which this was decided."""
    bound: float | None
    """The lower bound at that level."""


def holm_decisions(tests: Sequence[OneSidedTest], error_rate: float) -> list[Decision]:
    """Decide all tests so that the probability of any false rejection is at most `error_rate`.

    Holm's step-down procedure: each test gets an equal share of the rate, and the shares of rejected tests pass to the
    others. A test's own level caps its share, which keeps the guarantee.
    """
    decisions = [_decide(test, test.level) for test in tests]
    # A test that does not reject at its own level does not at any share of the rate either.
    candidates = [number for number, decision in enumerate(decisions) if decision.rejected]
    remaining = len(tests)
    while candidates:
        for number in candidates:
            decisions[number] = _decide(tests[number], first_level(tests[number].level, error_rate, remaining))
        rejected = [number for number in candidates if decisions[number].rejected]
        if not rejected:
            break
        remaining -= len(rejected)
        candidates = [number for number in candidates if number not in rejected]
    return decisions


def first_level(test_level: float, error_rate: float, tests: int) -> float:
    """The level of a test with its own level `test_level`, before any of `tests` has rejected."""
    return min(test_level, error_rate / tests)


def _decide(test: OneSidedTest, level: float) -> Decision:
    bound = test.lower_bound(level)
    return Decision(bound is not None and bound > test.limit + _ROUNDING, level, bound)
