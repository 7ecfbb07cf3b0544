"""Floors count the operations and bytes that a model cannot do without, by hand for small ones."""

import pytest
import torch

from model_adapters.bench.floors import Work, decode_work, prefill_work
from model_adapters.bench.record import Ceilings
from model_adapters.engine.memory.cost import slot_cost
from tests.model_adapters.small_models import FAMILIES, small_model


def test_the_larger_of_two_times_is_the_floor() -> None:
    ceilings = Ceilings(100.0, 10.0, "by hand")
    assert Work(200, 10).floor_seconds(ceilings) == 2.0
    assert Work(100, 30).floor_seconds(ceilings) == 3.0


def test_a_llama_prompt_by_hand() -> None:
    """Two layers of width 64: query and output 64 × 64, key and value 64 × 32, and the three MLP matrices."""
    model = small_model("llama")
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96
    pairs = 100 * 101 // 2
    expected = 2 * 2 * layer * 100 + 2 * 288 * 64 + 2 * 4 * 4 * 16 * pairs
    assert prefill_work(model, 100).flops == expected
    weights = sum(parameter.nbytes for parameter in model.parameters()) - 288 * 64 * 4
    assert prefill_work(model, 100).bytes == weights + 100 * 2 * 2 * 32 * 4


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_add_up_to_the_prompt_they_make(family: str) -> None:
    """Decoding token by token does the same work as prefill, plus the head at each step."""
    model = small_model(family)
    head = 2 * 288 * 64
    stepped = sum(decode_work(model, before, 1).flops - head for before in range(300))
    assert stepped == pytest.approx(prefill_work(model, 300).flops - head)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_moves_weights_once_and_every_sequence(family: str) -> None:
    model = small_model(family)
    one, four = decode_work(model, 300, 1), decode_work(model, 300, 4)
    cost = slot_cost(model.config, torch.float32)
    assert four.bytes - one.bytes == 3 * (cost.bytes(300) + cost.state_bytes)
    assert four.flops == 4 * one.flops


def test_of_experts_only_the_chosen_count() -> None:
    few, all_of_them = (small_model("qwen3_next", num_experts_per_tok=chosen) for chosen in (1, 4))
    assert prefill_work(few, 50).flops < prefill_work(all_of_them, 50).flops
