"""Random prompts and transformers' own results for them, which the engine is compared with."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from evalkit.records import ContinuationScore, Request
from tests.model_adapters.small_models import small_model


def random_prompt(tokens: int, *, seed: int = 0) -> tuple[int, ...]:
    """Ids of bytes, without special tokens."""
    generator = torch.Generator().manual_seed(1000 * tokens + seed)
    return tuple(torch.randint(0, 256, (tokens,), generator=generator).tolist())


def make_requests(lengths: tuple[int, ...], budget: int) -> list[Request]:
    """Requests `0`, `1`, … with random prompts; budgets increase by one."""
    return [Request(str(index), random_prompt(tokens), budget + index) for index, tokens in enumerate(lengths)]


@lru_cache(maxsize=16)
def one_shot_logits(family: str, prompt: tuple[int, ...]) -> torch.Tensor:
    """transformers' own logits [1, V] after the prompt, in one forward pass without a cache."""
    with torch.no_grad():
        logits_1TV: torch.Tensor = small_model(family)(torch.tensor([prompt]), use_cache=False).logits
    return logits_1TV[:, -1]


def transformers_generate(family: str, request: Request, **overrides: Any) -> tuple[int, ...]:
    """Greedy tokens from `transformers.generate`, including the end-of-sequence token.

    `overrides` are those of `small_model`.
    """
    input_ids = torch.tensor([request.token_ids])
    output = small_model(family, **overrides).generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        max_new_tokens=request.generation_tokens,
        do_sample=False,
    )
    return tuple(output[0, len(request.token_ids) :].tolist())


def plain_scores(
    model: PreTrainedModel, prompt: Sequence[int], continuations: Sequence[Sequence[int]]
) -> list[ContinuationScore]:
    """Scores from transformers' forward passes over the prompt with each continuation; one pass for single tokens."""
    found = []
    passes_: dict[tuple[int, ...], torch.Tensor] = {}
    for continuation in continuations:
        read = (*prompt, *continuation[:-1])
        if read not in passes_:
            with torch.no_grad():
                passes_[read] = model(input_ids=torch.tensor([read]), use_cache=False).logits[0].float()
        logits_TV = passes_[read][len(prompt) - 1 :]
        target_T = torch.tensor(continuation)
        log_probability = logits_TV.log_softmax(-1).gather(1, target_T[:, None]).sum().item()
        found.append(ContinuationScore(log_probability, bool((logits_TV.argmax(-1) == target_T).all())))
    return found


def assert_scores(found: Sequence[ContinuationScore] | None, expected: Sequence[ContinuationScore]) -> None:
    assert found is not None
    assert [one.log_probability for one in found] == pytest.approx([one.log_probability for one in expected], abs=1e-4)
    assert [one.is_greedy for one in found] == [one.is_greedy for one in expected]
