"""Thoughts of a served model: one request for the thought, and a second one that continues it with an answer.

If a server does not give tokens, its text is tokenized again, for the second request and for the counts.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

from evalkit.records import Completion, FinishReason, Request, Thinking, ThoughtEnd
from evalkit.running.protocols import Tokenizer
from evalkit.running.text_requests import cut_at
from evalkit.running.thinking import answer_text, kept_tokens, read_response, read_tokens
from model_adapters.served.answers import Answer, read_answer_tokens

TokenIds = tuple[int, ...]
Ask = Callable[[TokenIds, int, tuple[str, ...]], Answer]
"""From a prompt, a maximum number of new tokens and stop strings to the server's answer."""


@dataclass(frozen=True, slots=True)
class _Response:
    """What a model wrote to a prompt: a thought, an answer, or both."""

    text: str
    """With special tokens spelled out, if the server gives tokens."""
    token_ids: TokenIds
    finish_reason: FinishReason

    @staticmethod
    def of(answer: Answer, tokenizer: Tokenizer) -> "_Response":
        token_ids, _ = read_answer_tokens(answer)
        if token_ids is None:
            return _Response(answer.text, tuple(tokenizer.encode(answer.text)), answer.finish_reason)
        return _Response(tokenizer.spell(token_ids), token_ids, answer.finish_reason)

    def tokens_to(self, tag: str, tokenizer: Tokenizer) -> int:
        """Number of tokens up to the one that completes `tag`; of all of them if none does."""
        counts = range(len(self.token_ids))
        return bisect_left(counts, True, key=lambda count: tag in tokenizer.spell(self.token_ids[:count]))


@dataclass(frozen=True, slots=True)
class _Written:
    """An answer, or its beginning."""

    text: str
    tokens: int
    finish_reason: FinishReason


def answer_after_thought(request: Request, thinking: Thinking, tokenizer: Tokenizer, ask: Ask) -> Completion:
    """The completion of a request with a thought; raises RequestFailedError."""
    room = thinking.budget_tokens
    if not thinking.opened:  # it writes an opening tag, or the answer
        room = max(room, thinking.open_tokens, request.generation_tokens)
    asked = ask(request.token_ids, room, thinking.stop)
    first = _Response.of(asked, tokenizer)
    parts = read_response(first.text, thinking)
    if parts.end == "absent":
        return _completion(request, "", 0, "absent", _cut(asked.text, first.finish_reason, request, tokenizer))
    count = first.tokens_to(thinking.close, tokenizer) if parts.end == "closed" else len(first.token_ids)
    is_within = count <= thinking.budget_tokens
    if parts.end == "closed" and is_within:
        return _closed(request, thinking, tokenizer, ask, first)
    if parts.end == "unclosed" and first.finish_reason == "stop" and is_within:
        return _completion(request, parts.thought, count, "unclosed", _Written("", 0, "stop"))
    kept = first.token_ids[: kept_tokens(first.token_ids, thinking, tokenizer)]
    thought = read_response(tokenizer.spell(kept), thinking).thought
    answer = _answered(request, thinking, tokenizer, ask, (*kept, *thinking.close_ids))
    return _completion(request, thought, len(kept) + len(thinking.close_ids), "forced", answer)


def _closed(request: Request, thinking: Thinking, tokenizer: Tokenizer, ask: Ask, first: _Response) -> Completion:
    """The completion of a thought that the model closed, after which it may have begun the answer."""
    count = first.tokens_to(thinking.close, tokenizer)
    before, after = first.token_ids[:count], first.token_ids[count:]
    thought, begun = read_tokens(before, after, "closed", replace(thinking, answer_ids=()), tokenizer)
    answer = _cut(begun, first.finish_reason, request, tokenizer)
    if thinking.answer_ids:
        answer = _answered(request, thinking, tokenizer, ask, (*before, *thinking.answer_ids))
    elif answer.finish_reason != "stop" and answer.tokens < request.generation_tokens:
        left = request.generation_tokens - answer.tokens
        second = ask((*request.token_ids, *first.token_ids), left, request.stop)
        answer = _cut(begun + second.text, second.finish_reason, request, tokenizer)
    return _completion(request, thought, count + len(thinking.answer_ids), "closed", answer)


def _answered(request: Request, thinking: Thinking, tokenizer: Tokenizer, ask: Ask, before: TokenIds) -> _Written:
    """The whole answer to a prompt that the tokens `before` continue."""
    # Stop strings that are lines would end it between the thought and the answer.
    stop = request.stop if thinking.answer_ids else tuple(text for text in request.stop if text.strip())
    answer = ask((*request.token_ids, *before), request.generation_tokens, stop)
    text = answer_text(answer.text, "forced", thinking)
    return _cut(text, answer.finish_reason, request, tokenizer, answer.completion_tokens)


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
