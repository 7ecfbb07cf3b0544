"""Memory beyond weights and KV cache does not grow with the context, and its counter is correct."""

import pytest
import torch

from model_adapters.bench.memory import measure_prefill
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.allocation_counter import AllocationCounter
from tests.model_adapters.small_models import FAMILIES, small_model


@pytest.mark.parametrize("family", FAMILIES)
def test_peak_above_weights_and_kv_does_not_grow_with_the_context(family: str) -> None:
    model = small_model(family)
    measured = [measure_prefill(model, tokens, 128) for tokens in (512, 1024, 2048)]
    peaks = [row.peak_bytes_above_weights_and_kv for row in measured]
    assert max(peaks) <= 1.1 * min(peaks)
    cost = ModelRunner(model).layout.cost
    for row in measured:
        assert row.kv_bytes == cost.bytes(row.context_tokens) - cost.state_bytes
        assert row.state_bytes == cost.state_bytes
        assert row.all_seconds[0] > 0
    # A segment takes at least the residual stream at a layer's input and output.
    assert min(peaks) > 2 * 128 * model.config.hidden_size * 4
    assert measured[0].weights_bytes == sum(parameter.nbytes for parameter in model.parameters())


def test_peak_grows_with_the_segment() -> None:
    model = small_model("olmo_hybrid")
    small, large = (measure_prefill(model, 1024, segment).peak_bytes_above_weights_and_kv for segment in (64, 512))
    assert large > 4 * small


def test_counter_follows_allocations_and_frees() -> None:
    before = torch.ones(1000)
    with AllocationCounter() as counter:
        first = torch.empty(1000)
        assert counter.current_bytes == 4000
        views = first[10:], first.view(10, 100), before[5:], before.add_(1)
        assert counter.current_bytes == 4000
        second = (first + 1) * 2
        assert (counter.current_bytes, counter.peak_bytes) == (8000, 12_000)
        del first, views
        assert counter.current_bytes == 4000
        for _ in range(100):
            third = torch.empty(10, dtype=torch.float64)
        assert counter.current_bytes == 4080
        del second, third
    assert (counter.current_bytes, counter.peak_bytes) == (0, 12_000)
