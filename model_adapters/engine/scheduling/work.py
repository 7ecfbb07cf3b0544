"""The engine's next steps as values: the scheduler picks one, the executor runs it, the scheduler takes the result."""

from dataclasses import dataclass

from model_adapters.engine.forward.continuation_scores import BranchScores
from model_adapters.engine.forward.decode_graph import Choices
from model_adapters.engine.forward.stopwatch import Stopwatch
from model_adapters.engine.scheduling.sequence import Sequence
from model_adapters.failures import Failure


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
class Decode:
    """Generate one token for every active sequence."""

    sequences: tuple[Sequence, ...]
    follows: bool = False
    """Whether it follows a step for the same sequences whose tokens have not been read."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A pass that picks a token for each of its sequences, on the device or done, or why it could not be started."""

    work: Prefill | Decode
    choices: Choices | Failure
    runs_ahead: bool = False
    """Whether a decode step for the same sequences can follow before the tokens have been read."""

    def share(self, seconds: float) -> None:
        """Divide the time of the pass among its sequences: of prompts by their length, of a decode step evenly."""
        sequences = self.work.sequences
        if isinstance(self.work, Decode):
            for sequence in sequences:
                sequence.decode_seconds += seconds / len(sequences)
            return
        tokens = sum(sequence.unread_tokens for sequence in sequences)
        for sequence in sequences:
            sequence.prefill_seconds += seconds * (sequence.unread_tokens / tokens if tokens else 1)


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """Wait for the tokens of a pass."""

    unread: Unread


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


@dataclass(frozen=True, slots=True)
class UnreadScores:
    """The passes of a ScoreBranches, on the device or done: the sequences of each, with their scores."""

    work: ScoreBranches
    passes: tuple[tuple[tuple[Sequence, ...], BranchScores], ...]
    watch: Stopwatch
    """Measures all of them, and the reading of their prefixes."""


@dataclass(frozen=True, slots=True)
class ReadScores:
    """Wait for scores."""

    unread: UnreadScores


Work = Refuse | MakeRoom | Prefill | ReadTokens | Decode | Score | ScoreBranches | ReadScores
