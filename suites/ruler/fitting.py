"""Fitting a prompt to its limit, never exceeding it."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from evalkit.errors import SampleDoesNotFitError
from evalkit.running.chat import Prompt
from suites.ruler.measure import Measure

SizeT = TypeVar("SizeT")

# Counts of parts are inexact at the few seams between haystack, needles and question.
SEAM_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """A sample's text at one size of its haystack."""

    body: str
    """The prompt without its answer prefix."""
    depths: tuple[float, ...] = ()
    gold_positions: tuple[int, ...] = ()
    distractors: tuple[str, ...] = ()
    """Answers to questions that were not asked."""
    evidence: tuple[tuple[int, int], ...] = ()
    """(start, end) in characters of `body`: evidence for the answer, if it is not the first place of each target."""


class Draft(Protocol[SizeT]):
    """A sample with its content drawn and the size of its haystack still open.

    Only its size, and that of vt's worked example, depends on the tokenizer.
    """

    @property
    def prefix(self) -> str:
        """The paper's answer prefix, including its leading space."""
        ...

    @property
    def targets(self) -> tuple[str, ...]: ...

    @property
    def smallest(self) -> SizeT:
        """The smallest size of the task."""
        ...

    def largest(self, tokens: int) -> SizeT:
        """The largest size that adds at most `tokens` to the smallest, by the counts of its parts."""
        ...

    def layout(self, size: SizeT) -> Layout: ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """A draft in the size that fills its limit."""

    layout: Layout
    prompt: Prompt


def smallest_tokens(draft: Draft[SizeT], opening: str, measure: Measure) -> int:
    """Prompt tokens at the smallest size; `opening` is the dialect's answer prefix."""
    return len(_laid_out(draft, draft.smallest, opening, measure).prompt.token_ids)


def fit(draft: Draft[SizeT], opening: str, limit: int, measure: Measure) -> Fitted:
    """Lay out `draft` so that its prompt has at most `limit` tokens and nearly that many.

    The whole prompt is tokenised once; again only where the parts' counts were wrong. Raises SampleDoesNotFitError
    if even the smallest size is over the limit.
    """
    smallest = _laid_out(draft, draft.smallest, opening, measure)
    least = len(smallest.prompt.token_ids)
    if least > limit:
        raise misfit(least, limit)
    allowance = limit - least - SEAM_TOKENS
    while allowance > 0 and (size := draft.largest(allowance)) != draft.smallest:
        fitted = _laid_out(draft, size, opening, measure)
        if len(fitted.prompt.token_ids) <= limit:
            return fitted
        allowance -= len(fitted.prompt.token_ids) - limit
    return smallest


def misfit(least: int, limit: int) -> SampleDoesNotFitError:
    """The error of a prompt of `least` tokens where `limit` are left for it."""
    room = f"of {limit:,}" if limit > 0 else f"and the new tokens alone are {1 - limit:,} over the length"
    return SampleDoesNotFitError(f"its smallest prompt has {least:,} tokens {room}")


def _laid_out(draft: Draft[SizeT], size: SizeT, opening: str, measure: Measure) -> Fitted:
    layout = draft.layout(size)
    return Fitted(layout, measure.prompt(layout.body, opening))
