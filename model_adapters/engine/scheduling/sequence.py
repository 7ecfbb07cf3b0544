"""One request on its way through the engine, and what comes out of it."""

from dataclasses import dataclass, field

from evalkit.records import ContinuationScore, FinishReason, Request
from model_adapters.engine.forward.token_scores import TokenScores


@dataclass(frozen=True, slots=True)
class Generation:
    """What the engine made of one request."""

    request_id: str
    prompt_tokens: int
    token_ids: tuple[int, ...]
    """New tokens; the one that stopped the generation is the last."""
    finish_reason: FinishReason
    prefill_seconds: float
    decode_seconds: float
    """This request's share: the time of a decode step is divided evenly among the sequences in it."""
    error: str | None = None
    scores: TokenScores | None = None
    """Of a request that asked for log-probabilities."""
    continuations: tuple[ContinuationScore, ...] | None = None
    """Of a request that asked for continuations, in their order."""
    stop: tuple[str, ...] = ()
    """The request's stop strings; the text of the last tokens may hold one of them, and more."""


@dataclass(slots=True)
class Sequence:
    """A request with its progress; `attempts` counts the times that memory ran out under it."""

    request: Request
    attempts: int = 0
    alone: bool = False
    """Whether it is to be read in a pass of its own, because one that it shared failed."""
    token_ids: list[int] = field(default_factory=list)
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def need_tokens(self) -> int:
        """Places that the request takes in a slot; the last token of a continuation predicts nothing."""
        longest = max(map(len, self.request.continuations), default=1) - 1
        return len(self.request.token_ids) + self.request.generation_tokens + longest

    @property
    def is_scored(self) -> bool:
        """Whether something given is scored, and nothing generated."""
        return self.request.scored_from is not None or bool(self.request.continuations)

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that the request shares with others and that can be read for all; none if scored themselves."""
        request = self.request
        if request.prefix_id is None or (request.scored_from or request.prefix_tokens) < request.prefix_tokens:
            return ()
        return request.token_ids[: request.prefix_tokens]

    @property
    def unread_tokens(self) -> int:
        """Prompt tokens beyond the prefix."""
        return len(self.request.token_ids) - len(self.prefix)

    def restart(self) -> None:
        """Forget all progress after memory ran out."""
        self.attempts += 1
        self.token_ids.clear()
        self.prefill_seconds = self.decode_seconds = 0.0

    def finish(
        self,
        reason: FinishReason,
        error: str | None = None,
        *,
        scores: TokenScores | None = None,
        continuations: tuple[ContinuationScore, ...] | None = None,
    ) -> Generation:
        """The result; a failed request has no tokens."""
        return Generation(
            request_id=self.request.id,
            prompt_tokens=len(self.request.token_ids),
            token_ids=() if error is not None else tuple(self.token_ids),
            finish_reason=reason,
            prefill_seconds=self.prefill_seconds,
            decode_seconds=self.decode_seconds,
            error=error,
            scores=scores,
            continuations=continuations,
            stop=self.request.stop,
        )
