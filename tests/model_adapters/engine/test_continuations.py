"""Continuations are scored as one plain forward pass over prompt and continuation scores them."""

from collections.abc import Sequence

import pytest
import torch
from transformers import PreTrainedModel

from evalkit.records import ContinuationScore, Request
from model_adapters.engine.engine import Engine
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.small_models import FAMILIES, small_model


def plain_scores(
    model: PreTrainedModel, prompt: Sequence[int], continuations: Sequence[Sequence[int]]
) -> list[ContinuationScore]:
    """By one forward pass of transformers for each continuation."""
    found = []
    for continuation in continuations:
        id_1T = torch.tensor([[*prompt, *continuation]])
        with torch.no_grad():
            logits_TV = model(input_ids=id_1T, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        target_T = id_1T[0, len(prompt) :]
        log_probability = logits_TV.log_softmax(-1).gather(1, target_T[:, None]).sum().item()
        found.append(ContinuationScore(log_probability, bool((logits_TV.argmax(-1) == target_T).all())))
    return found


def assert_scores(found: Sequence[ContinuationScore] | None, expected: Sequence[ContinuationScore]) -> None:
    assert found is not None
    assert [one.log_probability for one in found] == pytest.approx([one.log_probability for one in expected], abs=1e-4)
    assert [one.is_greedy for one in found] == [one.is_greedy for one in expected]


@pytest.mark.parametrize("family", FAMILIES)
def test_continuations_of_one_and_of_many_tokens(family: str) -> None:
    prompt = random_prompt(150)
    continuations = ((5,), (6,), random_prompt(9), random_prompt(40))
    expected = plain_scores(small_model(family), prompt, continuations)
    engine = Engine(small_model(family), segment_tokens=64, slots=2)
    (found,) = engine.generate([Request("x", prompt, 0, continuations=continuations)])
    assert_scores(found.continuations, expected)
    assert (found.finish_reason, found.token_ids, found.scores) == ("stop", (), None)
