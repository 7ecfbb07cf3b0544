"""The progress of one request through the engine, and its result."""

from dataclasses import dataclass, field

from evalkit.records import ContinuationScore, FinishReason, Request
from model_adapters.engine.forward.token_scores import TokenScores


@dataclass(frozen=True, slots=True)
class Generation:
    """The result of one request."""

    request_id: str
    prompt_tokens: int
    token_ids: tuple[int, ...]
    """Generated tokens, including the one that ended generation."""
    finish_reason: FinishReason
    prefill_seconds: float
    decode_seconds: float
    """This request's share: the time of a decode step is divided evenly among its sequences."""
    error: str | None = None
    scores: TokenScores | None = None
    """For a request with `scored_from`."""
    continuations: tuple[ContinuationScore, ...] | None = None
    """For a request with continuations: their scores, in order."""
    stop: tuple[str, ...] = ()
    """The request's stop strings; the decoded text may contain one, and text after it."""


@dataclass(slots=True)
class Sequence:
    """A request and its progress; `attempts` counts how often memory ran out while it ran."""

    request: Request
    attempts: int = 0
    alone: bool = False
    """Whether to prefill it in a pass of its own, because a shared pass failed."""
    token_ids: list[int] = field(default_factory=list)
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def need_tokens(self) -> int:
        """Positions that the request needs in a slot; the last token of a continuation needs none."""
        longest = max(map(len, self.request.continuations), default=1) - 1
        return len(self.request.token_ids) + self.request.generation_tokens + longest

    @property
    def is_scored(self) -> bool:
        """Whether the request scores given tokens instead of generating."""
        return self.request.scored_from is not None or bool(self.request.continuations)

    @property
    def prefix(self) -> tuple[int, ...]:
        """The prefix shared with other requests that can be cached; empty if the request scores tokens of it."""
        request = self.request
        if request.prefix_id is None or (request.scored_from or request.prefix_tokens) < request.prefix_tokens:
            return ()
        return request.token_ids[: request.prefix_tokens]

    @property
    def unread_tokens(self) -> int:
        """Prompt tokens after the cached prefix."""
        return len(self.request.token_ids) - len(self.prefix)

    def restart(self) -> None:
        """Discard all progress after memory ran out."""
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
        """Make the result; a failed request has no tokens."""
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
