"""Positions that depend on the whole prompt's length bound what is read in segments."""

from typing import Any

import pytest
import torch

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.scheduling.position_limit import position_limit
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.small_models import FAMILIES, small_model

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 128}
YARN = {**DYNAMIC, "rope_type": "yarn"}


@pytest.mark.parametrize("family", FAMILIES)
def test_fixed_positions_have_no_limit(family: str) -> None:
    assert position_limit(small_model(family)) is None


def test_schemes_that_follow_the_prompt_are_limited() -> None:
    model = small_model("llama")

    def limit(rope_parameters: Any) -> tuple[int, str] | None:
        model.config.rope_parameters = rope_parameters
        found = position_limit(model)
        return None if found is None else (found.tokens, found.reason.split(" positions depend")[0])

    assert limit(YARN) is None
    assert limit(DYNAMIC) == (128, "dynamic")
    assert limit({"sliding_attention": {"rope_type": "default"}, "full_attention": DYNAMIC}) == (128, "dynamic")
    assert limit({"rope_type": "longrope", "original_max_position_embeddings": 64}) == (64, "longrope")
    assert limit(None) is None


LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
    "original_max_position_embeddings": 64,
}


@pytest.mark.parametrize("slots", [1, 3])
def test_longrope_takes_the_factors_of_each_prompts_length(slots: int) -> None:
    """Prompts within, at and beyond the original length, decoded together; decoding takes one of them across it."""
    model = small_model("llama", rope_parameters=LONGROPE, max_position_embeddings=256, eos_token_id=None)
    own = small_model("llama", rope_parameters=LONGROPE, max_position_embeddings=256, eos_token_id=None)
    own.set_attn_implementation("eager")
    prompts = {tokens: random_prompt(tokens) for tokens in (30, 64, 65, 150, 61)}
    requests = [Request(f"decode {tokens}", prompt, 8) for tokens, prompt in prompts.items()]
    requests += [Request(f"score {tokens}", prompt, 0, scored_from=1) for tokens, prompt in prompts.items()]
    found = {one.request_id: one for one in Engine(model, segment_tokens=37, slots=slots).generate(requests)}
    for tokens, prompt in prompts.items():
        id_1T = torch.tensor([prompt])
        with torch.no_grad():
            answer = own.generate(id_1T, attention_mask=torch.ones_like(id_1T), max_new_tokens=8, do_sample=False)
            log_TV = own(id_1T, use_cache=False).logits[0].log_softmax(-1)
        assert list(found[f"decode {tokens}"].token_ids) == answer[0, tokens:].tolist()
        scores = found[f"score {tokens}"].scores
        assert scores is not None
        expected = log_TV[:-1].gather(1, id_1T[0, 1:, None])[:, 0].tolist()
        assert list(scores.log_probabilities) == pytest.approx(expected, abs=2e-4)


def test_beyond_longropes_original_length_nothing_is_shared() -> None:
    model = small_model("llama", rope_parameters=LONGROPE, max_position_embeddings=256)
    prompt = random_prompt(100)
    shared = Request("shared", prompt, 4, prefix_id="p", prefix_tokens=20)
    branching = Request("branching", prompt, 0, continuations=((1,),))
    errors = [generation.error or "" for generation in Engine(model).generate([shared, branching])]
    assert all("exceed 64 tokens, beyond which longrope positions depend" in error for error in errors)
    assert all(error.endswith("cannot be read in a shared prefix or continuations") for error in errors)


def test_longer_requests_are_errors_and_shorter_ones_run() -> None:
    model = small_model("llama", rope_parameters=DYNAMIC, max_position_embeddings=128)
    requests = [Request("long", random_prompt(125), 4), Request("short", random_prompt(124), 4)]
    found = {generation.request_id: generation for generation in Engine(model).generate(requests)}
    assert found["short"].error is None
    assert found["long"].error == (
        "125 prompt tokens and a budget of 4 exceed 128 tokens, beyond which dynamic positions depend on the prompt's "
        "whole length and cannot be read in segments"
    )
