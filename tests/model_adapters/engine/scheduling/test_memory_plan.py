"""Plans follow from what a model needs and what a device has."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from evalkit.errors import RequestFailedError
from evalkit.records import Request
from model_adapters.bench.memory import measure_prefill
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward import activations
from model_adapters.engine.forward.activations import MARGIN, measured_needs
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.cost import (
    LAUNCH_BYTES,
    MOST_SLOTS,
    WEIGHTS_SHARE,
    Needs,
    SlotCost,
    activation_bytes_per_token,
    rounded_length,
)
from model_adapters.engine.scheduling import memory_plan
from model_adapters.engine.scheduling.memory_plan import (
    CPU_SEGMENT_TOKENS,
    CPU_SLOTS,
    EnginePlan,
    GivenSizes,
    choose_plan,
    fit_plan,
    plan_request,
    plannable_bytes,
    smaller_sizes,
)
from model_adapters.engine.scheduling.room import RoomMaker
from model_adapters.engine.scheduling.sequence import Sequence
from model_adapters.loading import find_device
from model_adapters.module_patches import patches_of
from tests.model_adapters.engine.prompts import assert_scores, plain_scores, random_prompt, transformers_generate
from tests.model_adapters.small_models import FAMILIES, small_model

GIB = 2**30


def planned(model: PreTrainedModel, max_tokens: int, **options: Any) -> EnginePlan:
    kept = {name: options.pop(name) for name in ("kept_bytes", "ran_out") if name in options}
    needs = ModelRunner(model).needs
    return choose_plan(needs, torch.device("cpu"), max_tokens, GivenSizes(**options), **kept)


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(memory_plan, "available_bytes", lambda device: int(size))


def cost_of(model: PreTrainedModel) -> SlotCost:
    return ModelRunner(model).layout.cost


def test_costs_of_a_hybrid_by_hand() -> None:
    cost = cost_of(small_model("olmo_hybrid").to(torch.bfloat16))
    # One attention layer of 4 heads of 16; three Gated DeltaNet layers of 4 heads, keys of 12 and values of 24.
    assert cost.kv_bytes_per_token == 2 * 4 * 16 * 2
    assert cost.window_bytes_per_token == 0
    channels = 4 * (12 + 12 + 24)
    assert cost.state_bytes == 3 * (channels * 4 * 2 + 4 * 12 * 24 * 4)
    assert cost.bytes(1000) - cost.bytes(0) == 1000 * cost.kv_bytes_per_token


def test_windows_stop_costing_at_their_size() -> None:
    cost = cost_of(small_model("olmo3"))
    assert cost.window_tokens == 200
    assert cost.bytes(200) == 200 * (cost.kv_bytes_per_token + cost.window_bytes_per_token)
    assert cost.bytes(900) - cost.bytes(200) == 700 * cost.kv_bytes_per_token


def test_defaults_where_memory_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 64 * GIB)
    model = small_model("olmo_hybrid")
    assert planned(model, 65_536) == EnginePlan(CPU_SEGMENT_TOKENS, CPU_SLOTS, 65_536, CPU_SEGMENT_TOKENS)
    assert planned(model, 300) == EnginePlan(320, CPU_SLOTS, 320, CPU_SEGMENT_TOKENS)


def test_what_is_left_alone_does_not_grow_with_a_card() -> None:
    assert plannable_bytes(10 * GIB, on_gpu=True) == plannable_bytes(10 * GIB, on_gpu=False) == 9 * GIB
    assert plannable_bytes(80 * GIB, on_gpu=True) == 78 * GIB
    assert plannable_bytes(80 * GIB, on_gpu=False) == 72 * GIB


def test_what_was_given_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 64 * GIB)
    assert planned(small_model("llama"), 9000, segment_tokens=77, slots=31) == EnginePlan(77, 31, 10_240, 77)


def test_slots_and_segments_shrink_with_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    slot = cost_of(model).bytes(65_536)
    activation = activation_bytes_per_token(model.config, torch.float32)
    free(monkeypatch, (2.5 * slot + 1024 * activation) / 0.9)
    assert planned(model, 65_536).slots == 2
    free(monkeypatch, 2000 * activation / 0.9)
    assert planned(model, 512).segment_tokens == 256
    # Segments are smaller than a quarter of the memory would allow if only then a sequence fits.
    free(monkeypatch, (slot + 300 * activation) / 0.9)
    assert planned(model, 65_536) == EnginePlan(256, 1, 65_536, 256)


def test_a_length_is_rounded_up_only_as_far_as_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    cost = cost_of(model)
    activation = 256 * activation_bytes_per_token(model.config, torch.float32)
    assert rounded_length(70_000) == 81_920
    free(monkeypatch, (cost.bytes(81_920) + activation) / 0.9 + 1)
    assert planned(model, 70_000, segment_tokens=256) == EnginePlan(256, 1, 81_920, 256)
    free(monkeypatch, (cost.bytes(70_000) + activation) / 0.9 + 1)
    assert planned(model, 70_000, segment_tokens=256) == EnginePlan(256, 1, 70_000, 256)
    free(monkeypatch, (cost.bytes(70_000) + activation) / 0.9 - 2)
    with pytest.raises(RequestFailedError, match="70,000 tokens need"):
        planned(model, 70_000, segment_tokens=256)


@given(
    free_bytes=st.integers(1, 2**40), max_tokens=st.integers(1, 2**20), slot_bytes=st.integers(1, 2**20),
    activation=st.integers(1, 2**20), kept=st.booleans(), on_gpu=st.booleans(),
)  # fmt: skip
def test_a_plan_never_takes_more_than_is_free(
    free_bytes: int, max_tokens: int, slot_bytes: int, activation: int, kept: bool, on_gpu: bool
) -> None:
    """Several slots leave memory for a pass shared by their prompts; a single slot for its own prompt's segment."""
    needs = Needs(SlotCost(slot_bytes, 0, 0, 0), activation, on_gpu)
    try:
        plan = fit_plan(needs, free_bytes, max_tokens, kept_bytes=0 if kept else None)
    except RequestFailedError:
        return
    tokens = plan.pass_tokens if plan.slots > 1 or plan.prefix_bytes else plan.segment_tokens
    taken = plan.slots * needs.slot.bytes(max_tokens) + tokens * activation + (plan.prefix_bytes or 0)
    assert taken <= free_bytes


@given(
    slots=st.integers(1, 256), pass_tokens=st.integers(2, 8192), max_tokens=st.integers(1, 2**20),
    slot_bytes=st.integers(1, 2**20), activation=st.integers(1, 2**20),
)  # fmt: skip
def test_after_memory_ran_out_a_plan_leaves_more_of_it(
    slots: int, pass_tokens: int, max_tokens: int, slot_bytes: int, activation: int
) -> None:
    """Fewer slots alone only where they free twice what a pass takes; otherwise passes take half."""
    needs = Needs(SlotCost(slot_bytes, 0, 0, 0), activation, on_gpu=True)
    before = EnginePlan(min(pass_tokens, max_tokens), slots, max_tokens, pass_tokens)
    now = smaller_sizes(before, needs)
    assert now.slots < slots or slots == 1
    if now.segment_tokens == pass_tokens:
        assert (slots - now.slots) * needs.slot_bytes(max_tokens) >= 2 * pass_tokens * activation
    else:
        assert now == (max(1, before.segment_tokens // 2), max(1, slots // 2))


def test_a_quarter_of_many_slots_is_given_up_before_speed() -> None:
    """234 sequences of 4,096 tokens of a 7B hybrid on 139 GiB keep passes of 8,192 tokens."""
    needs = Needs(SlotCost(122_880, 0, 0, 55_296_000), 120_000, on_gpu=True)
    assert smaller_sizes(EnginePlan(4096, 234, 4096, 8192), needs) == (8192, 176)


def latent_model(family: str) -> PreTrainedModel:
    """A small random model with multi-head latent attention."""
    sizes = {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1}
    config = AutoConfig.for_model(
        family,
        vocab_size=288,
        hidden_size=64,
        intermediate_size=96,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_hidden_layers=2,
        topk_group=1,
        pad_token_id=0,
        **sizes,
        **experts,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval()


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3", "glm4_moe_lite", "minicpm3", "youtu"])
def test_latent_attention_is_planned_as_the_latents_that_are_kept(family: str) -> None:
    model = latent_model(family)
    runner = ModelRunner(model)
    cache = runner.new_cache(slots=1, max_tokens=100)
    runner.prefill(cache, 0, list(range(1, 91)), 50)
    assert runner.layout.cost.bytes(100) == cache.kv_bytes == 2 * 100 * (16 + 8) * 4


def test_kept_prefixes_have_room_beside_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    slot = cost_of(model).bytes(65_536)
    activation = 256 * activation_bytes_per_token(model.config, torch.float32)

    def shared(free_bytes: float, kept_bytes: int | None = 0) -> tuple[int, int | None]:
        free(monkeypatch, free_bytes / 0.9 + 1)
        plan = planned(model, 65_536, segment_tokens=256, kept_bytes=kept_bytes)
        return plan.slots, plan.prefix_bytes

    # A quarter if memory is plentiful, less if a slot needs it, and nothing if no prefix is shared.
    plenty = 64 * GIB
    assert shared(plenty) == (CPU_SLOTS, pytest.approx(plenty / 4, abs=4))
    assert shared(activation + slot) == (1, pytest.approx(0, abs=4))
    assert shared(activation + slot * 1.1) == (1, pytest.approx(slot * 0.1, abs=4))
    assert shared(activation + 4 * slot) == (2, pytest.approx((activation + 4 * slot) / 4, abs=4))
    assert shared(activation + 4 * slot, None) == (CPU_SLOTS, None)
    # Memory already used by prefixes counts towards their share.
    assert shared(activation + 3 * slot, slot) == shared(activation + 4 * slot)


def test_what_does_not_fit_names_need_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, GIB)
    told = r"10,000,000 tokens need 4\.77 GiB .* but 0\.90 GiB are free; 3\.87 GiB are missing and 1,88\d,\d{3} tokens"
    with pytest.raises(RequestFailedError, match=told):
        planned(small_model("llama"), 10_000_000)


def test_free_memory_of_this_machine_is_known() -> None:
    assert memory_plan.available_bytes(torch.device("cpu")) > GIB / 64


@pytest.mark.parametrize("option", ["auto", "cuda", "cuda:0"])
def test_free_memory_of_the_gpu_that_an_option_names(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of PyTorch's functions refuse a device without an index."""

    def of_device(value: Any) -> Any:
        return lambda device: value if device.index == 0 else pytest.fail(f"{device} has no index")

    for name, value in {
        "mem_get_info": (80 * GIB, 100 * GIB),
        "memory_reserved": 10 * GIB,
        "memory_allocated": 4 * GIB,
        "memory_stats": {"inactive_split_bytes.all.current": 2 * GIB},
        "get_per_process_memory_fraction": 0.5,
    }.items():
        monkeypatch.setattr(torch.cuda, name, of_device(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    # Half of 100 GiB may be used: 10 are reserved, of which 4 are taken, with 2 of holes between them.
    assert memory_plan.available_bytes(find_device(option)) == 44 * GIB


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_estimated_from_above(family: str) -> None:
    model = small_model(family)
    estimate = 512 * activation_bytes_per_token(model.config, torch.float32)
    measured = measure_prefill(model, 1024, 512)
    assert 1 < estimate / (measured.peak_bytes_above_weights_and_kv - measured.state_bytes) < 4


def seven_billion(activation_bytes_per_token: int = 118_000) -> Needs:
    """A hybrid of 7B in bf16: 8 of 32 layers with 30 heads of 128, 24 with states of 30 × 96 × 192 in fp32."""
    convolution = 4 * (2 * 30 * 96 + 30 * 192) * 2
    slot = SlotCost(8 * 2 * 30 * 128 * 2, 0, 0, 24 * (30 * 96 * 192 * 4 + convolution))
    return Needs(slot, activation_bytes_per_token, True, weights_bytes=int(14.9e9), logit_count=100_352)


def plan_on(gpu_gib: float, tokens: int, needs: Needs) -> EnginePlan:
    """A plan on a GPU of which this much is free before the weights are read."""
    return plan_request(needs, plannable_bytes(int(gpu_gib * GIB) - needs.weights_bytes, on_gpu=True), tokens)


def test_as_many_sequences_are_decoded_together_as_fit_and_pay() -> None:
    """An H100 (79.6 GiB) and an H200 (139 GiB), of which CUDA takes half a GiB; activations as measured there."""
    needs = seven_billion()
    assert plan_on(79.1, 65_536, needs) == EnginePlan(8192, 8, 65_536, 8192)
    # The estimate from the configuration, five times what a segment takes, leaves memory for seven.
    assert plan_on(79.1, 65_536, seven_billion(590_000)).slots == 7
    assert plan_on(138.5, 65_536, needs).slots == 16
    assert 100 < plan_on(138.5, 4096, needs).slots < 256
    assert plan_on(138.5, 512, needs).slots == 256
    # A step of 40 sequences of 32,768 tokens would be spent on their keys and values for more than nine tenths.
    assert plan_on(1000, 32_768, needs).slots == needs.most_slots(32_768) == 37


@given(tokens=st.integers(1, 2**20), weights=st.integers(0, 2**40), per_token=st.integers(1, 2**22))
def test_more_sequences_pay_until_the_weights_take_a_tenth_of_a_step(tokens: int, weights: int, per_token: int) -> None:
    needs = Needs(SlotCost(per_token, 0, 0, 0), 1, True, weights_bytes=weights)
    most = needs.most_slots(tokens)
    common, slot = weights + LAUNCH_BYTES, per_token * tokens
    assert 1 <= most <= MOST_SLOTS
    assert most == 1 or common / (common + most * slot) >= WEIGHTS_SHARE - 1e-9
    assert most == MOST_SLOTS or common / (common + (most + 1) * slot) < WEIGHTS_SHARE + 1e-9
    assert needs.most_slots(2 * tokens) <= most


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_measured_with_a_segment_before_them(family: str) -> None:
    model = small_model(family)
    runner = ModelRunner(model)
    needs = measured_needs(runner, 512)
    measured = measure_prefill(model, 1024, 512)
    taken = measured.peak_bytes_above_weights_and_kv - measured.state_bytes
    assert 512 * needs.activation_bytes_per_token == pytest.approx(MARGIN * taken, rel=0.05)
    assert replace(needs, activation_bytes_per_token=0) == replace(runner.needs, activation_bytes_per_token=0)


def test_a_segment_that_memory_cannot_hold_is_measured_by_its_half(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, tried = ModelRunner(small_model("llama")), list[int]()

    def fails(error: Exception, above: int) -> Any:
        def measure(_: ModelRunner, tokens: int) -> int:
            tried.append(tokens)
            if tokens > above:
                raise error
            return 1000 * tokens

        monkeypatch.setattr(activations, "activation_bytes", measure)

    fails(torch.OutOfMemoryError("CUDA out of memory"), 2048)
    assert measured_needs(runner, 8192).activation_bytes_per_token == math.ceil(1000 * MARGIN)
    assert measured_needs(runner, 8192, longest=1000).activation_bytes_per_token == math.ceil(1000 * MARGIN)
    assert tried == [8192, 4096, 2048, 500]
    # With anything else, and with memory for no segment at all, requests get their errors one by one.
    runner = ModelRunner(small_model("llama"))
    fails(RuntimeError("no kernel"), 0)
    assert measured_needs(runner, 8192) == runner.needs
    fails(torch.OutOfMemoryError("CUDA out of memory"), 0)
    assert measured_needs(runner, 8192) == runner.needs


def test_a_model_is_measured_once_while_it_runs_the_same_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    model, measured = small_model("llama"), list[int]()

    def measure(_: ModelRunner, tokens: int) -> int:
        measured.append(tokens)
        return len(measured) * 1000 * tokens

    monkeypatch.setattr(activations, "activation_bytes", measure)
    first = measured_needs(ModelRunner(model), 512)
    assert measured_needs(ModelRunner(model), 512) == first
    assert measured_needs(ModelRunner(model), 256) != first
    layer = model.model.layers[0].mlp
    patches_of(model).place(layer, "forward", layer.forward)
    assert measured_needs(ModelRunner(model), 512) != first
    assert measured == [512, 256, 512]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cache_on_a_gpu_is_allocated_before_its_first_prompt(family: str) -> None:
    runner = ModelRunner(small_model(family))
    request = Sequence(Request("a", (1, 2, 3), 2))
    on_gpu = RoomMaker(runner, replace(runner.needs, on_gpu=True), GivenSizes(segment_tokens=64, slots=3))
    room = on_gpu.make(request, kept_bytes=0, ran_out=())
    on_gpu.allocate(room)
    cache, allocated = room.cache, room.cache.kv_bytes + room.cache.state_bytes
    assert allocated == 3 * runner.needs.slot.bytes(room.plan.max_tokens)
    assert cache.lengths == [0, 0, 0]
    addresses = [tensor.data_ptr() for tensor in cache._tensors(0, cache.max_tokens)]
    logits = runner.prefill(cache, 0, request.request.token_ids, 64)
    assert [tensor.data_ptr() for tensor in cache._tensors(0, cache.max_tokens)] == addresses
    fresh = runner.new_cache(slots=3, max_tokens=room.plan.max_tokens)
    assert fresh.kv_bytes + fresh.state_bytes == 0
    torch.testing.assert_close(runner.prefill(fresh, 0, request.request.token_ids, 64), logits, rtol=0, atol=0)


def test_a_cache_that_cannot_be_allocated_is_left_to_its_first_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = ModelRunner(small_model("llama"))

    def prefill(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(runner, "prefill", prefill)
    rooms = RoomMaker(runner, replace(runner.needs, on_gpu=True), GivenSizes(segment_tokens=64, slots=3))
    room = rooms.make(Sequence(Request("a", (1, 2, 3), 2)), kept_bytes=0, ran_out=())
    rooms.allocate(room)
    assert (room.plan.slots, room.cache.lengths, room.cache.kv_bytes) == (3, [0, 0, 0], 0)


def test_requests_scored_behind_cached_prefixes_allocate_no_slots_on_a_gpu() -> None:
    """The slots are allocated for the first request that uses one."""
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=3)
    rooms = engine.executor._rooms
    engine.executor._rooms = replace(rooms, needs=replace(rooms.needs, on_gpu=True))
    text = random_prompt(40)
    shared: dict[str, Any] = {"prefix_id": "a", "prefix_tokens": 30}
    scored = Request("scored", text, 0, continuations=((5,), (6,)), **shared)
    (found,) = engine.generate([scored])
    assert_scores(found.continuations, plain_scores(small_model("olmo_hybrid"), text, scored.continuations))
    cache = engine.cache
    assert cache is not None
    assert (cache.slots, cache.kv_bytes, cache.state_bytes) == (3, 0, 0)
    (generated,) = engine.generate([request := Request("generated", text[:35], 5, **shared)])
    assert generated.token_ids == transformers_generate("olmo_hybrid", request)
    assert engine.cache is cache
    assert cache.kv_bytes + cache.state_bytes == 3 * rooms.needs.slot.bytes(cache.max_tokens)
