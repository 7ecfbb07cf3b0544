"""Positions that depend on the whole prompt's length bound what is read in segments."""

from typing import Any

import pytest

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


def test_longer_requests_are_errors_and_shorter_ones_run() -> None:
    model = small_model("llama", rope_parameters=DYNAMIC, max_position_embeddings=128)
    requests = [Request("long", random_prompt(125), 4), Request("short", random_prompt(124), 4)]
    found = {generation.request_id: generation for generation in Engine(model).generate(requests)}
    assert found["short"].error is None
    assert found["long"].error == (
        "125 prompt tokens and a budget of 4 exceed 128 tokens, beyond which dynamic positions depend on the prompt's "
        "whole length and cannot be read in segments"
    )
