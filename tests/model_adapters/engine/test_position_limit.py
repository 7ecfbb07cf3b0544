"""Positions that depend on the whole prompt's length bound what is read in segments."""

import pytest

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.position_limit import PositionLimit, position_limit
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.small_models import FAMILIES, small_model

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 128}
YARN = {**DYNAMIC, "rope_type": "yarn"}


@pytest.mark.parametrize("family", FAMILIES)
def test_fixed_positions_have_no_limit(family: str) -> None:
    assert position_limit(small_model(family).config) is None


def test_schemes_that_follow_the_prompt_are_limited() -> None:
    config = small_model("llama").config
    config.rope_parameters = YARN
    assert position_limit(config) is None
    config.rope_parameters = DYNAMIC
    assert position_limit(config) == PositionLimit(128, "dynamic")
    config.rope_parameters = {"sliding_attention": {"rope_type": "default"}, "full_attention": DYNAMIC}
    assert position_limit(config) == PositionLimit(128, "dynamic")
    config.rope_parameters = {"rope_type": "longrope", "original_max_position_embeddings": 64}
    assert position_limit(config) == PositionLimit(64, "longrope")
    config.rope_parameters = None
    assert position_limit(config) is None


def test_longer_requests_are_errors_and_shorter_ones_run() -> None:
    model = small_model("llama", rope_parameters=DYNAMIC, max_position_embeddings=128)
    requests = [Request("long", random_prompt(125), 4), Request("short", random_prompt(124), 4)]
    found = {generation.request_id: generation for generation in Engine(model).generate(requests)}
    assert found["short"].error is None
    assert found["long"].error == (
        "125 prompt tokens and a budget of 4 exceed 128 tokens, beyond which dynamic positions depend on the prompt's "
        "whole length and cannot be read in segments"
    )
