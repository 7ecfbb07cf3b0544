"""The progress of one request through the engine, and its result."""

from dataclasses import dataclass, field

from evalkit.records import ContinuationScore, FinishReason, Request, Thinking, ThoughtEnd
from evalkit.running.protocols import Tokenizer
from evalkit.running.thinking import answer_text
from model_adapters.engine.forward.token_scores import TokenScores
from model_adapters.engine.scheduling.stop_strings import reaches_stop
from model_adapters.engine.scheduling.thought import ThoughtProgress


@dataclass(frozen=True, slots=True)
class Generation:
    """The result of one request, in tokens; a Completion is in text, which the adapter's tokenizer makes of them."""

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
    thinking: Thinking | None = None
    """The request's."""
    thought_tokens: int = 0
    """Number of the generated tokens before the answer, inserted ones included."""
    thought_end: ThoughtEnd | None = None
    """None if the request has no `thinking`."""


@dataclass(slots=True, eq=False)
class Sequence:
    """A request and its progress; `attempts` counts how often memory ran out while it ran."""

    request: Request
    attempts: int = 0
    alone: bool = False
    """Whether to read it in a pass of its own, because a shared pass failed."""
    token_ids: list[int] = field(default_factory=list)
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    has_slot: bool = False
    """Whether tokens are being generated for it."""
    thought: ThoughtProgress | None = field(init=False)
    """The thought before the answer; None if the request has no `thinking`."""

    def __post_init__(self) -> None:
        self.thought = ThoughtProgress.of(self.request.thinking)

    @property
    def need_tokens(self) -> int:
        """Positions that the request needs in a slot; the last token of a continuation needs none."""
        request, longest = self.request, max(map(len, self.request.continuations), default=1) - 1
        thought = 0 if request.thinking is None else request.thinking.most_tokens
        return len(request.token_ids) + thought + request.generation_tokens + longest

    @property
    def answer_tokens(self) -> int:
        """Generated tokens that count against the budget of the answer; 0 while they may open a thought."""
        start = 0 if self.thought is None else self.thought.answer_start
        return 0 if start is None else len(self.token_ids) - start

    @property
    def runs_ahead(self) -> bool:
        """Whether the next token, not known yet, will be the one that the model picks and leave budget for another."""
        thought = self.thought
        if thought is not None and thought.inserted:
            return False
        thinks = thought is not None and thought.is_open and thought.answer_start is None
        return thinks or self.answer_tokens + 1 < self.request.generation_tokens

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
        self.thought = ThoughtProgress.of(self.request.thinking)
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
        thought = None if error is not None else self.thought
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
            thinking=self.request.thinking,
            thought_tokens=0 if thought is None else len(self.token_ids) - self.answer_tokens,
            thought_end=None if thought is None else thought.end,
        )


def take(sequence: Sequence, token_id: int, *, stop_ids: frozenset[int], tokenizer: Tokenizer | None) -> bool:
    """Append the token that a model picked, or the one that takes its place; returns whether generation ends.

    It ends with a stop token, or with a stop string of the answer, regardless of the answer's budget.
    """
    thought, token_ids, start = sequence.thought, sequence.token_ids, 0
    if thought is None or tokenizer is None:
        token_ids.append(token_id)
    elif thought.answer_start is None:
        if thought.take(token_ids, token_id, stop_ids, tokenizer):
            return True
        if sequence.answer_tokens == 0:
            return False
        # What could have become an opening tag may be longer than the whole answer.
        del token_ids[sequence.request.generation_tokens :]
    else:
        token_ids.append(token_id)
        start = thought.answer_start
    if token_ids[-1] in stop_ids:
        return True
    stop, answer = sequence.request.stop, token_ids[start:]
    if tokenizer is None or not reaches_stop(stop, answer, tokenizer):
        return False
    # The lines between a thought and its answer are no end of the answer.
    return thought is None or any(
        one in answer_text(text, thought.end, thought.thinking)
        for text in (tokenizer.decode(answer), tokenizer.spell(answer))
        for one in stop
        if one
    )
