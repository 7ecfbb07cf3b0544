"""What an engine does next, as values: the scheduler decides, the executor runs, the scheduler applies the result."""

from dataclasses import dataclass

from model_adapters.engine.scheduling.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a request with an error."""

    sequence: Sequence
    message: str


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Plan and make a cache that serves a request."""

    sequence: Sequence


@dataclass(frozen=True, slots=True)
class Prefill:
    """Read prompts into the next free slots: several in one pass, or one in segments."""

    sequences: tuple[Sequence, ...]
    first_slot: int


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """Wait for the first tokens of prompts that were prefilled last."""


@dataclass(frozen=True, slots=True)
class Decode:
    """One token for every active sequence."""

    sequences: tuple[Sequence, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Score a request's own tokens, or its continuations, by way of a slot that is free again afterwards."""

    sequence: Sequence
    slot: int


@dataclass(frozen=True, slots=True)
class ScoreBranches:
    """Score the continuations of requests with one prefix in one pass that keeps nothing."""

    sequences: tuple[Sequence, ...]
    slot: int
    """A free slot: the empty context of requests without a prefix."""


Work = Refuse | MakeRoom | Prefill | ReadTokens | Decode | Score | ScoreBranches
