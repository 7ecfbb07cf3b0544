"""Checks of a server's answers before they are used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import RequestFailedError
from evalkit.records import FinishReason

_GREEDY_MARGIN = 1e-6
"""Tolerance in nats, because servers print rounded values."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A validated answer of /v1/completions."""

    text: str
    finish_reason: FinishReason
    completion_tokens: int | None
    choice: Mapping[str, Any]


def read_answer(body: Mapping[str, Any], *, model: str, prompt_tokens: int) -> Answer:
    """The answer of `model` to a prompt of `prompt_tokens` tokens.

    Raises RequestFailedError if the server read another number of tokens or does not say how many, if another model
    answered, or if the answer did not end by itself or at its budget.
    """
    answered = body.get("model")
    # The server of transformers adds the revision.
    if answered is not None and answered != model and str(answered).partition("@")[0] != model:
        raise RequestFailedError(f"{str(answered)[:80]!r} answered instead of {model}")
    usage = body.get("usage")
    read = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    if read != prompt_tokens:
        said = "does not say how many tokens it read" if read is None else f"read {read:,} tokens"
        raise RequestFailedError(f"the server {said}; the prompt has {prompt_tokens:,}")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping) or not isinstance(choice.get("text"), str):
        raise RequestFailedError("the server's answer has no text")
    reason = choice.get("finish_reason")
    if reason not in ("stop", "length"):
        raise RequestFailedError(f"the answer ended with {reason!r:.40}")
    written = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return Answer(choice["text"], reason, written if isinstance(written, int) else None, choice)


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
