"""Plans follow from what a model needs and what a device has."""

import pytest
import torch

from evalkit.errors import RequestFailedError
from model_adapters.engine import memory_plan
from model_adapters.engine.memory_bench import measure_prefill
from model_adapters.engine.memory_plan import (
    CPU_SEGMENT_TOKENS,
    CPU_SLOTS,
    EnginePlan,
    activation_bytes_per_token,
    choose_plan,
    plannable_bytes,
    slot_cost,
)
from tests.model_adapters.small_models import FAMILIES, small_model

GIB = 2**30


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(memory_plan, "available_bytes", lambda device: int(size))


def test_costs_of_a_hybrid_by_hand() -> None:
    config = small_model("olmo_hybrid").config
    cost = slot_cost(config, torch.bfloat16)
    # One attention layer of 4 heads of 16; three Gated DeltaNet layers of 4 heads, keys of 12 and values of 24.
    assert cost.kv_bytes_per_token == 2 * 4 * 16 * 2
    assert cost.window_bytes_per_token == 0
    channels = 4 * (12 + 12 + 24)
    assert cost.state_bytes == 3 * (channels * 4 * 2 + 4 * 12 * 24 * 4)
    assert cost.bytes(1000) - cost.bytes(0) == 1000 * cost.kv_bytes_per_token


def test_windows_stop_costing_at_their_size() -> None:
    cost = slot_cost(small_model("olmo3").config, torch.float32)
    assert cost.window_tokens == 200
    assert cost.bytes(200) == 200 * (cost.kv_bytes_per_token + cost.window_bytes_per_token)
    assert cost.bytes(900) - cost.bytes(200) == 700 * cost.kv_bytes_per_token


def test_defaults_where_memory_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 64 * GIB)
    model = small_model("olmo_hybrid")
    assert choose_plan(model, 65_536) == EnginePlan(CPU_SEGMENT_TOKENS, CPU_SLOTS, 65_536, CPU_SEGMENT_TOKENS)
    assert choose_plan(model, 300) == EnginePlan(300, CPU_SLOTS, 300, CPU_SEGMENT_TOKENS)


def test_what_is_left_alone_does_not_grow_with_a_card() -> None:
    assert plannable_bytes(10 * GIB, on_gpu=True) == plannable_bytes(10 * GIB, on_gpu=False) == 9 * GIB
    assert plannable_bytes(80 * GIB, on_gpu=True) == 78 * GIB
    assert plannable_bytes(80 * GIB, on_gpu=False) == 72 * GIB


def test_what_was_given_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 64 * GIB)
    assert choose_plan(small_model("llama"), 9000, segment_tokens=77, slots=31) == EnginePlan(77, 31, 9000, 77)


def test_slots_and_segments_shrink_with_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    slot = slot_cost(model.config, torch.float32).bytes(65_536)
    activation = activation_bytes_per_token(model.config, torch.float32)
    free(monkeypatch, (2.5 * slot + 1024 * activation) / 0.9)
    assert choose_plan(model, 65_536).slots == 2
    free(monkeypatch, 2000 * activation / 0.9)
    assert choose_plan(model, 512).segment_tokens == 256
    # Smaller segments than a quarter of the memory would hold, where that lets one sequence in.
    free(monkeypatch, (slot + 300 * activation) / 0.9)
    assert choose_plan(model, 65_536) == EnginePlan(256, 1, 65_536, 256)


def test_kept_prefixes_have_room_beside_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    slot = slot_cost(model.config, torch.float32).bytes(65_536)
    activation = 256 * activation_bytes_per_token(model.config, torch.float32)

    def planned(free_bytes: float, kept_bytes: int | None = 0) -> tuple[int, int | None]:
        free(monkeypatch, free_bytes / 0.9 + 1)
        plan = choose_plan(model, 65_536, segment_tokens=256, kept_bytes=kept_bytes)
        return plan.slots, plan.prefix_bytes

    # A quarter where there is plenty, less where a slot needs it, and nothing set aside where none is shared.
    plenty = 64 * GIB
    assert planned(plenty) == (CPU_SLOTS, pytest.approx(plenty / 4, abs=4))
    assert planned(activation + slot) == (1, pytest.approx(0, abs=4))
    assert planned(activation + slot * 1.1) == (1, pytest.approx(slot * 0.1, abs=4))
    assert planned(activation + 4 * slot) == (2, pytest.approx((activation + 4 * slot) / 4, abs=4))
    assert planned(activation + 4 * slot, None) == (CPU_SLOTS, None)
    # What prefixes take already is theirs.
    assert planned(activation + 3 * slot, slot) == planned(activation + 4 * slot)


def test_what_does_not_fit_names_need_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, GIB)
    told = r"10,000,000 tokens need 4\.77 GiB .* but 0\.90 GiB are free; 3\.87 GiB are missing and 1,88\d,\d{3} tokens"
    with pytest.raises(RequestFailedError, match=told):
        choose_plan(small_model("llama"), 10_000_000)


def test_free_memory_of_this_machine_is_known() -> None:
    assert memory_plan.available_bytes(torch.device("cpu")) > GIB / 64


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_estimated_from_above(family: str) -> None:
    model = small_model(family)
    estimate = 512 * activation_bytes_per_token(model.config, torch.float32)
    measured = measure_prefill(model, 1024, 512)
    assert 1 < estimate / (measured.peak_bytes_above_weights_and_kv - measured.state_bytes) < 4
