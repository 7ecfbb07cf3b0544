"""Families beyond the engine's first ones: equal logits in every way to run them, states that matter, known sizes."""

from typing import Any

import pytest
import torch

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.linear_state import LinearState
from model_adapters.preflight import full_preflight, short_preflight
from tests.model_adapters.preflight.other_families import OTHER_FAMILIES, other_model, other_subject
from tests.model_adapters.small_models import FAMILIES, small_model


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_every_way_of_running_gives_the_same_logits(family: str) -> None:
    checks = full_preflight(other_subject(family), 400)
    assert [check.statement for check in checks if check.outcome == "stop"] == []
    gaps = {check.name: check.relative_gap for check in checks if check.relative_gap is not None}
    assert set(gaps) == {"kernels", "segments", "prefix reuse", "branches", "batch", "padding", "first layers"}
    assert max(gaps.values()) < 1e-4


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_a_state_that_is_lost_shows(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the equality above would not test states."""
    keep = LinearState.set_recurrent

    def forget(self: LinearState, rows: slice, state: torch.Tensor, *, index: int) -> torch.Tensor:
        return keep(self, rows, torch.zeros_like(state), index=index)

    monkeypatch.setattr(LinearState, "set_recurrent", forget)
    stopped = {check.name for check in short_preflight(other_subject(family)) if check.outcome == "stop"}
    assert "segments" in stopped


@pytest.mark.parametrize("family", [*FAMILIES, *OTHER_FAMILIES])
def test_the_plan_knows_what_a_sequence_keeps(family: str) -> None:
    model: Any = small_model(family) if family in FAMILIES else other_model(family)
    tokens, runner = 300, ModelRunner(model)
    cache = runner.new_cache(slots=1, max_tokens=tokens)
    runner.prefill(cache, 0, list(range(1, 251)), 100)
    assert cache.kv_bytes + cache.state_bytes == runner.layout.cost.bytes(tokens)
