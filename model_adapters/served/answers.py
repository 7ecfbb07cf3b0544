"""Checks of a server's answers before they are used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import RequestFailedError
from evalkit.records import FinishReason

_GREEDY_MARGIN = 1e-6
"""Tolerance in nats, because servers print rounded values."""


class MisreadError(RequestFailedError):
    """The server answered another question than it was asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A validated answer of /v1/completions."""

    text: str
    finish_reason: FinishReason
    completion_tokens: int | None
    choice: Mapping[str, Any]


def read_answer(body: Mapping[str, Any], *, model: str, prompt_tokens: int) -> Answer:
    """The answer of `model` to a prompt of `prompt_tokens` tokens.

    Raises MisreadError if the server read another number of tokens or does not say how many, or if another model
    answered, and RequestFailedError if the answer did not end by itself or at its budget.
    """
    answered = body.get("model")
    # The server of transformers adds the revision.
    if answered is not None and answered != model and str(answered).partition("@")[0] != model:
        raise MisreadError(f"{str(answered)[:80]!r} answered instead of {model}")
    usage = body.get("usage")
    read = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    if read != prompt_tokens:
        said = "does not say how many tokens it read" if read is None else f"read {read:,} tokens"
        raise MisreadError(f"the server {said}; the prompt has {prompt_tokens:,}")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping) or not isinstance(choice.get("text"), str):
        raise RequestFailedError("the server's answer has no text")
    reason = choice.get("finish_reason")
    if reason not in ("stop", "length"):
        raise RequestFailedError(f"the answer ended with {reason!r:.40}")
    written = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return Answer(choice["text"], reason, written if isinstance(written, int) else None, choice)


def read_answer_tokens(answer: Answer) -> tuple[tuple[int, ...] | None, tuple[float, ...] | None]:
    """Ids and log-probabilities in nats of the answer's tokens, each None if the answer does not hold them.

    vLLM and SGLang give ids beside OpenAI's lists of log-probabilities, llama.cpp's server both for each token.
    """
    given = answer.choice.get("logprobs")
    given = given if isinstance(given, Mapping) else {}
    content = given.get("content")
    if not isinstance(content, list):
        return _all_of(int, answer.choice.get("token_ids")), _all_of(int | float, given.get("token_logprobs"))
    tokens = [token if isinstance(token, Mapping) else {} for token in content]
    return (
        _all_of(int, [token.get("id") for token in tokens]),
        _all_of(int | float, [token.get("logprob") for token in tokens]),
    )


def _all_of(kind: Any, values: Any) -> Any:
    """A list as a tuple if all its values are of `kind`, else None."""
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        return None
    return tuple(values)


def read_log_probabilities(answer: Answer, prompt_tokens: int) -> tuple[list[float], list[bool]]:
    """Of the prompt's tokens from the second on: nats, and whether each is the most probable one.

    Raises RequestFailedError if the answer does not hold them.
    """
    given = answer.choice.get("logprobs")
    values = given.get("token_logprobs") if isinstance(given, Mapping) else None
    best = given.get("top_logprobs") if isinstance(given, Mapping) else None
    if not isinstance(values, Sequence) or len(values) < prompt_tokens:
        raise RequestFailedError("the server's answer has no log-probabilities of the prompt")
    scored = values[1:prompt_tokens]
    if not all(isinstance(value, int | float) for value in scored):
        raise RequestFailedError("the server left out log-probabilities of the prompt")
    if not isinstance(best, Sequence) or len(best) < prompt_tokens:
        raise RequestFailedError("the server's answer does not name the most probable tokens of the prompt")
    greedy = [
        isinstance(top, Mapping) and bool(top) and value >= max(top.values()) - _GREEDY_MARGIN
        for value, top in zip(scored, best[1:prompt_tokens], strict=True)
    ]
    return [float(value) for value in scored], greedy
