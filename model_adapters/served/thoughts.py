"""Thoughts of a served model: one request for the thought, and a second one that continues it with an answer.

Servers show text and not tokens, so what the model wrote is tokenized again for the second request and for the counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from evalkit.records import Completion, FinishReason, Request, Thinking, ThoughtEnd
from evalkit.running.protocols import Tokenizer
from evalkit.running.text_requests import cut_at
from evalkit.running.thinking import kept_tokens, read_response
from model_adapters.served.answers import Answer

TokenIds = tuple[int, ...]
Ask = Callable[[TokenIds, int, tuple[str, ...]], Answer]
"""From a prompt, a maximum number of new tokens and stop strings to the server's answer."""


@dataclass(frozen=True, slots=True)
class _Written:
    """An answer, or its beginning."""

    text: str
    tokens: int
    finish_reason: FinishReason


def answer_after_thought(request: Request, thinking: Thinking, tokenizer: Tokenizer, ask: Ask) -> Completion:
    """The completion of a request with a thought; raises RequestFailedError."""
    room = thinking.budget_tokens if thinking.opened else max(thinking.budget_tokens, request.generation_tokens)
    first = ask(request.token_ids, room, thinking.stop)
    response = read_response(first.text, thinking)
    if response.end == "absent":
        answer = _cut(response.answer, first.finish_reason, request, tokenizer)
        return _completion(request, "", 0, "absent", answer)
    # The whole text up to the answer, its tags included.
    before = first.text[: len(first.text) - len(response.answer)] if response.end == "closed" else first.text
    token_ids = tuple(tokenizer.encode(before))
    is_within = len(token_ids) <= thinking.budget_tokens
    if response.end == "closed" and is_within:
        return _closed(request, thinking, tokenizer, ask, first)
    if response.end == "unclosed" and first.finish_reason == "stop" and is_within:
        return _completion(request, response.thought, len(token_ids), "unclosed", _Written("", 0, "stop"))
    kept = token_ids[: kept_tokens(token_ids, thinking, tokenizer)]
    thought = read_response(tokenizer.spell(kept), thinking).thought
    second = ask((*request.token_ids, *kept, *thinking.close_ids), request.generation_tokens, request.stop)
    answer = _cut(second.text, second.finish_reason, request, tokenizer, second.completion_tokens)
    return _completion(request, thought, len(kept) + len(thinking.close_ids), "forced", answer)


def _closed(request: Request, thinking: Thinking, tokenizer: Tokenizer, ask: Ask, first: Answer) -> Completion:
    """The completion of a thought that the model closed, whose answer may have begun."""
    response = read_response(first.text, thinking)
    before = tuple(tokenizer.encode(first.text[: len(first.text) - len(response.answer)]))
    thought_tokens = len(before) + len(thinking.answer_ids)
    begun = _cut(response.answer, first.finish_reason, request, tokenizer)
    if thinking.answer_ids:
        second = ask((*request.token_ids, *before, *thinking.answer_ids), request.generation_tokens, request.stop)
        answer = _cut(second.text, second.finish_reason, request, tokenizer, second.completion_tokens)
    elif begun.finish_reason == "stop" or begun.tokens >= request.generation_tokens:
        answer = begun
    else:
        left = request.generation_tokens - begun.tokens
        second = ask((*request.token_ids, *tokenizer.encode(first.text)), left, request.stop)
        answer = _cut(begun.text + second.text, second.finish_reason, request, tokenizer)
    return _completion(request, response.thought, thought_tokens, "closed", answer)


def _cut(
    text: str, reason: FinishReason, request: Request, tokenizer: Tokenizer, tokens: int | None = None
) -> _Written:
    """An answer up to its stop string and within its budget; `tokens` is their number if it is known."""
    answer = cut_at(text, request.stop)
    if answer != text:
        reason, tokens = "stop", None
    token_ids = tokenizer.encode(answer)
    if tokens is None and len(token_ids) > request.generation_tokens:
        return _Written(tokenizer.decode(token_ids[: request.generation_tokens]), request.generation_tokens, "length")
    return _Written(answer, len(token_ids) if tokens is None else tokens, reason)


def _completion(request: Request, thought: str, thought_tokens: int, end: ThoughtEnd, answer: _Written) -> Completion:
    return Completion(
        request_id=request.id,
        text=answer.text,
        prompt_tokens=len(request.token_ids),
        completion_tokens=thought_tokens + answer.tokens,
        finish_reason=answer.finish_reason,
        prefill_seconds=None,
        decode_seconds=None,
        thought=thought,
        thought_tokens=thought_tokens,
        thought_end=end,
    )
