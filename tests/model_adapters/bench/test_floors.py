"""Floors count the operations and bytes that a model cannot do without, by hand for small ones."""

import pytest
import torch

from model_adapters.bench.floors import PassWork, Work, decode_work, prefill_work
from model_adapters.bench.layer_kinds import layer_kinds
from model_adapters.bench.record import Ceilings
from model_adapters.bench.slot_cost import slot_cost
from model_adapters.engine.forward.last_layer import last_mlp
from tests.model_adapters.small_models import FAMILIES, small_model


def test_each_kind_of_work_has_its_own_rate_and_times_add_up() -> None:
    ceilings = Ceilings(100.0, 10.0, "by hand", attention_flops=50.0)
    assert Work(200, 10).floor_seconds(ceilings) == 2.0
    assert Work(100, 30).floor_seconds(ceilings) == 3.0
    assert PassWork(Work(200, 10), Work(200, 10), 5).floor_seconds(ceilings) == 2.0 + 4.0 + 0.5
    assert PassWork(Work(200, 10), Work(200, 50), 5).floor_seconds(ceilings) == 2.0 + 5.0 + 0.5
    unmeasured = Ceilings(100.0, 10.0, "by hand")
    assert PassWork(Work(200, 10), Work(300, 10), 0).floor_seconds(unmeasured) == 2.0 + 3.0


@pytest.mark.parametrize(("read", "seconds"), [(20.0, 1.5 + 2.5 + 0.5), (5.0, 3.0 + 5.0 + 0.5)])
def test_what_is_only_read_takes_no_longer_than_a_copy(read: float, seconds: float) -> None:
    ceilings = Ceilings(100.0, 10.0, "by hand", read_bytes_per_second=read)
    assert PassWork(Work(0, 30), Work(0, 50), 5).floor_seconds(ceilings) == seconds


def test_a_llama_prompt_by_hand() -> None:
    """Two layers of width 64: query and output 64 × 64, key and value 64 × 32, and the three MLP matrices.

    The last layer's MLP runs for one token, and its attention and projections around it for one query.
    """
    model = small_model("llama")
    mlp = 3 * 64 * 96
    layer = 2 * 64 * 64 + 2 * 64 * 32 + mlp
    work = prefill_work(model, 100)
    assert work.products.flops == 2 * (2 * layer * 100 - 99 * (mlp + 2 * 64 * 64) + 288 * 64)
    assert work.attention.flops == 4 * 4 * 16 * (100 * 101 // 2 + 100)
    weights = sum(parameter.nbytes for parameter in model.parameters()) - 288 * 64 * 4
    assert work.products.bytes == weights
    assert work.attention.bytes == 100 * 2 * 2 * 32 * 4
    # Five norms of 64 values, read and written, and three times the inner size of the first MLP.
    assert work.between_bytes == 100 * 4 * (5 * 2 * 64 + 3 * 96)


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_need_at_least_the_work_of_the_prompt_they_make(family: str) -> None:
    """Decoding token by token does the same work as prefill, plus the head and the whole last layer at each step."""
    model = small_model(family)
    head, tokens = 2 * 288 * 64, 300
    steps = [decode_work(model, before, 1) for before in range(tokens)]
    prompt = prefill_work(model, tokens)
    mlp, attention = last_mlp(model.get_decoder()), getattr(model.get_decoder().layers[-1], "self_attn", None)
    unread = [] if mlp is None else [weight for weight in mlp.parameters() if weight.dim() > 1]
    unread += [] if attention is None else [attention.q_proj.weight, attention.o_proj.weight]
    skipped = 2 * (tokens - 1) * sum(weight.numel() for weight in unread)
    stepped = sum(step.products.flops - head for step in steps)
    assert stepped == pytest.approx(prompt.products.flops - head + skipped)
    last = layer_kinds(model.config)[-1]
    attended = sum(step.attention.flops for step in steps)
    assert (attended > prompt.attention.flops) == last.attention
    assert attended >= prompt.attention.flops


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_moves_weights_once_and_every_sequence(family: str) -> None:
    model = small_model(family)
    one, four = decode_work(model, 300, 1), decode_work(model, 300, 4)
    cost = slot_cost(model.config, torch.float32)
    assert four.products.bytes == one.products.bytes
    assert one.attention.bytes == cost.bytes(300) - cost.state_bytes
    assert one.between_bytes > 2 * cost.state_bytes
    assert four.products.flops == 4 * one.products.flops
    assert (four.attention, four.between_bytes) == (
        Work(4 * one.attention.flops, 4 * one.attention.bytes),
        4 * one.between_bytes,
    )


def test_of_experts_only_the_chosen_count() -> None:
    few, all_of_them = (small_model("qwen3_next", num_experts_per_tok=chosen) for chosen in (1, 4))
    assert prefill_work(few, 50).products.flops < prefill_work(all_of_them, 50).products.flops
