"""Reasons to refuse a request."""

from evalkit.records import Request
from model_adapters.engine.scheduling.position_limit import PositionLimit
from model_adapters.engine.scheduling.sequence import Sequence


def refusal(
    sequence: Sequence,
    *,
    vocabulary: int,
    max_tokens: int | None,
    position_limit: PositionLimit | None,
    has_tokenizer: bool,
) -> str | None:
    """Return why a request cannot be run, in one line, or None if it can."""
    request = sequence.request
    token_ids = request.token_ids
    if not token_ids:
        return "the prompt is empty"
    scored_from = request.scored_from
    if scored_from is not None and not 1 <= scored_from < len(token_ids):
        return f"token {scored_from:,} of {len(token_ids):,} cannot be the first to be scored"
    wrong = _wrong_continuations(request)
    if wrong is not None:
        return wrong
    if scored_from is None and not request.continuations and request.generation_tokens < 1:
        return "the generation budget is 0 tokens"
    if request.stop and not has_tokenizer:
        return "stop strings need a tokenizer, and this engine has none"
    if request.thinking is not None and not has_tokenizer:
        return "a thought is followed in its text, which needs a tokenizer, and this engine has none"
    if not 0 <= request.prefix_tokens <= len(token_ids):
        return f"a shared prefix of {request.prefix_tokens:,} tokens is not part of a prompt of {len(token_ids):,}"
    beyond = sequence.need_tokens - len(token_ids)
    asked = f"{beyond:,} of a continuation" if request.continuations else f"a budget of {beyond:,}"
    size = f"{len(token_ids):,} prompt tokens and {asked}"
    if max_tokens is not None and sequence.need_tokens > max_tokens:
        return f"{size} exceed the limit of {max_tokens:,} tokens"
    alone = not request.continuations and not request.prefix_tokens
    too_far = position_limit is not None and sequence.need_tokens > position_limit.tokens
    if position_limit is not None and too_far and not (alone and position_limit.reads_alone):
        return f"{size} exceed {position_limit.tokens:,} tokens, beyond which {position_limit.reason}"
    inserted = () if request.thinking is None else (request.thinking.close_ids, request.thinking.answer_ids)
    for ids in (token_ids, *request.continuations, *filter(None, inserted)):
        if max(ids) >= vocabulary or min(ids) < 0:
            return f"the prompt has token ids outside the model's vocabulary of {vocabulary:,}"
    return None


def _wrong_continuations(request: Request) -> str | None:
    if request.continuations and request.scored_from is not None:
        return "a request cannot have both continuations and log-probabilities of the prompt; send two requests"
    for index, continuation in enumerate(request.continuations):
        if not continuation:
            return f"continuation {index + 1} of {len(request.continuations)} is empty"
    return None
