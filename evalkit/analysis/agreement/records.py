"""Records of a comparison of two engines; its JSON output is `Agreement`."""

from dataclasses import dataclass, field
from typing import Literal

from evalkit.records import EngineDescription, Environment, ModelIdentity

Way = Literal["alone", "repeated", "under load"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first token at which an answer differs from the expected one."""

    probe: str
    prompt_tokens: int
    way: Way
    token: int
    """Index of the token in the answer."""
    expected: str
    """Spelling of the expected token: the reference's, or for repeated requests the server's own first answer's."""
    found: str
    margin: float | None
    """Nats by which the reference prefers its own token at this place to the less probable of the two; None if that was
    not measured."""
    by_rounding: bool
    """Whether rounding explains the difference: `margin` is within its bound."""


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """Answers to one group of probes, in one way of asking."""

    way: Way
    what: str
    """The probes: whole prompts, prompts with a shared beginning, or prompts that end at a border."""
    requests: int
    equal: int
    by_rounding: int
    """Answers whose first difference rounding explains."""
    differing: int
    failed: int


@dataclass(frozen=True, slots=True)
class GapGroup:
    """Differences of log-probabilities between two engines at a group of positions, in nats."""

    ctx: int
    where: str
    tokens: int
    rms: float
    """Root mean square."""
    bound: float
    """Largest root mean square that rounding explains."""
    largest: float
    largest_at: int
    """Position of the largest difference in its prompt, or in the server's answer."""
    agrees: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of a comparison."""

    verdict: Literal["agrees", "differs"]
    findings: tuple[str, ...]
    """Reasons for the verdict, one line each; empty if the engines agree."""
    model: ModelIdentity
    """The model in the reference engine."""
    reference: EngineDescription
    server: str
    """Address of the server."""
    served_model: str
    engine: str
    """Name and version of the server's software, as far as it states them."""
    takes_token_ids: bool
    answers: tuple[AnswerGroup, ...]
    differences: tuple[Difference, ...]
    gaps: tuple[GapGroup, ...]
    margin_bound: float
    """Nats: the largest margin that rounding explains."""
    rounding: str
    """Where the bounds come from."""
    sampling: dict[str, float | int] = field(default_factory=dict)
    """Sampling parameters of every request."""
    concurrency: int = 1
    """Requests at once under load."""
    failures: tuple[str, ...] = ()
    """Distinct errors of failed requests."""
    command: str = ""
    environment: Environment = field(default_factory=Environment)
    started_at: str = ""
