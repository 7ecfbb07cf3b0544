"""The engine's next steps as values: the scheduler picks one, the executor runs it, the scheduler takes the result."""

from dataclasses import dataclass

from model_adapters.engine.scheduling.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a request with an error."""

    sequence: Sequence
    message: str


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Plan and allocate a cache that serves a request."""

    sequence: Sequence


@dataclass(frozen=True, slots=True)
class Prefill:
    """Prefill prompts into the next free slots: several in one pass, or one prompt in segments."""

    sequences: tuple[Sequence, ...]
    first_slot: int


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """Wait for the first tokens of the prompts prefilled last."""


@dataclass(frozen=True, slots=True)
class Decode:
    """Generate one token for every active sequence."""

    sequences: tuple[Sequence, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Score a request's own tokens or its continuations in a slot that is free again afterwards."""

    sequence: Sequence
    slot: int


@dataclass(frozen=True, slots=True)
class ScoreBranches:
    """Score the continuations of requests in one pass that stores nothing.

    Either each has a cached prefix, or none has.
    """

    sequences: tuple[Sequence, ...]
    slot: int
    """A free slot, which is the empty context of requests without a prefix."""


Work = Refuse | MakeRoom | Prefill | ReadTokens | Decode | Score | ScoreBranches
