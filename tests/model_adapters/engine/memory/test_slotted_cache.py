"""Slots are independent, can be moved, saved and restored, and never change their addresses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.key_value_buffer import KeyValueBuffer, WindowBuffer, copy_rows
from model_adapters.engine.memory.slotted_cache import SlottedCache
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.small_models import FAMILIES, small_model

CPU = torch.device("cpu")


def make(family: str, slots: int = 3, max_tokens: int = 400) -> tuple[ModelRunner, SlottedCache]:
    runner = ModelRunner(small_model(family))
    return runner, runner.new_cache(slots=slots, max_tokens=max_tokens)


def held(cache: SlottedCache, slot: int) -> list[torch.Tensor]:
    """A copy of everything stored for a slot."""
    return [tensor.clone() for tensor in cache._tensors(slot, cache.lengths[slot])]


def decode(runner: ModelRunner, cache: SlottedCache, token_ids: list[int]) -> torch.Tensor:
    places = max(cache.lengths[: len(token_ids)]) + 1
    return runner.decode(cache, torch.tensor([[token_id] for token_id in token_ids]), places)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_slot_that_adopted_a_sequence_continues_exactly_as_its_own(family: str) -> None:
    runner, cache = make(family)
    kept = runner.new_cache(slots=1, max_tokens=263)
    # Beyond olmo3's window of 200, and not a multiple of any size.
    runner.prefill(kept, 0, random_prompt(263), 64)
    runner.prefill(cache, 0, random_prompt(263), 64)
    expected = runner.prefill(cache, 0, random_prompt(70, seed=1), 64)
    runner.prefill(cache, 2, random_prompt(300, seed=2), 64)
    cache.adopt(2, kept, 0)
    assert cache.lengths == [333, 0, 263]
    assert torch.equal(runner.prefill(cache, 2, random_prompt(70, seed=1), 64), expected)
    # The slot gets a copy: the original sequence is unchanged.
    cache.adopt(1, kept, 0)
    assert torch.equal(runner.prefill(cache, 1, random_prompt(70, seed=1), 64), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_moved_sequence_continues_exactly_as_before(family: str) -> None:
    runner, cache = make(family)
    runner.prefill(cache, 0, random_prompt(263), 64)
    expected = decode(runner, cache, [5]).clone()
    cache.reset(0)
    runner.prefill(cache, 2, random_prompt(263), 64)
    runner.prefill(cache, 0, random_prompt(290, seed=1), 64)
    cache.move(2, 0)
    assert cache.lengths == [263, 0, 0]
    assert cache.length_N.tolist() == [263, 0, 0]
    assert torch.equal(decode(runner, cache, [5]), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_decode_does_not_touch_slots_beyond_its_own(family: str) -> None:
    runner, cache = make(family)
    for slot in range(3):
        runner.prefill(cache, slot, random_prompt(250 + slot), 64)
    before = held(cache, 2)
    decode(runner, cache, [1, 2])
    after = held(cache, 2)
    assert cache.lengths == [251, 252, 252]
    assert cache.length_N.tolist() == cache.lengths
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_addresses_never_change_after_the_first_write(family: str) -> None:
    """A captured decode step must always read and write the same memory."""
    runner, cache = make(family)
    runner.prefill(cache, 0, random_prompt(40), 16)
    addresses = [tensor.data_ptr() for tensor in cache._tensors(0, 1)]
    lengths = cache.length_N.data_ptr()
    runner.prefill(cache, 1, random_prompt(300), 64)
    decode(runner, cache, [1, 2])
    cache.move(1, 0)
    cache.adopt(2, cache, 0)
    cache.erase(0)
    assert [tensor.data_ptr() for tensor in cache._tensors(0, 1)] == addresses
    assert cache.length_N.data_ptr() == lengths


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_tokens", [150, 400])
def test_allocated_bytes_are_what_the_plan_counts(family: str, max_tokens: int) -> None:
    runner, cache = make(family, slots=3, max_tokens=max_tokens)
    runner.prefill(cache, 0, random_prompt(20), 20)
    cost = runner.layout.cost
    assert cache.kv_bytes + cache.state_bytes == 3 * cost.bytes(max_tokens)
    assert cache.state_bytes == 3 * cost.state_bytes


def test_erased_slot_holds_no_nan() -> None:
    runner, cache = make("olmo_hybrid")
    runner.prefill(cache, 1, random_prompt(100), 64)
    for tensor in cache._tensors(1, 400):
        tensor.fill_(float("nan"))
    cache.erase(1)
    assert cache.lengths[1] == 0
    assert all(not tensor.any() for tensor in cache._tensors(1, 400))


@given(
    window=st.integers(1, 12),
    segments=st.lists(st.integers(1, 15), min_size=1, max_size=8),
    tokens=st.integers(0, 20),
)
@settings(max_examples=150, deadline=None)
def test_window_buffer_returns_what_the_window_reaches(window: int, segments: list[int], tokens: int) -> None:
    position_T = torch.arange(sum(segments) + tokens, dtype=torch.float32)
    history_1GTD = torch.stack([position_T, -position_T])[None, :, :, None]
    buffer = WindowBuffer(history_1GTD, history_1GTD, slots=2, window=window, max_tokens=len(position_T))
    start = 0
    for size in segments:
        new = history_1GTD[:, :, start : start + size]
        ring = buffer.ring_before(1, start)
        assert (ring is None) == (not start or start % min(window, len(position_T)) > 0)
        if ring is not None:
            assert torch.equal(ring[0], history_1GTD[:, :, start - window : start])
        k, v = buffer.append_segment(1, start, new, 2 * new)
        expected = history_1GTD[:, :, max(0, start - window + 1) : start + size]
        assert torch.equal(k, expected)
        assert torch.equal(v, 2 * expected)
        start += size
    for position in range(start, start + tokens):
        # Slot 0 decodes in the same steps from its first token on.
        lengths = torch.tensor([position - start, position])
        new = torch.cat(
            [history_1GTD[:, :, position - start : position - start + 1], history_1GTD[:, :, position, None]]
        )
        k, _ = buffer.append_tokens(lengths, new, 2 * new, places=position + 1)
        for row, last in enumerate(lengths.tolist()):
            visible = torch.arange(k.shape[2]) <= last
            assert sorted(k[row, 0, visible, 0].tolist()) == list(range(max(0, last - window + 1), last + 1))


@pytest.mark.parametrize(("size", "first"), [(16, 0), (16, 8), (16, 3), (6, 0), (4, 0)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.complex64])
def test_rows_are_copied_bit_by_bit(size: int, first: int, dtype: torch.dtype) -> None:
    source = torch.randn(5, 3, size + first).to(dtype)[..., first:].transpose(0, 1)
    target = torch.full((3, 9, size), torch.nan, dtype=dtype)
    copy_rows(target[:, 2:7], source)
    assert torch.equal(target[:, 2:7], source)
    assert target[:, :2].isnan().all()
    assert target[:, 7:].isnan().all()


def test_key_value_buffer_returns_all_that_came_before() -> None:
    history_1GTD = torch.randn(1, 2, 30, 4)
    buffer = KeyValueBuffer(history_1GTD, history_1GTD, slots=2, places=30)
    for start, stop in ((0, 7), (7, 8), (8, 20)):
        k, v = buffer.append_segment(1, start, history_1GTD[:, :, start:stop], -history_1GTD[:, :, start:stop])
        assert torch.equal(k, history_1GTD[:, :, :stop])
        assert torch.equal(v, -history_1GTD[:, :, :stop])
    new = history_1GTD[:, :, 20:21].expand(2, -1, -1, -1)
    k, v = buffer.append_tokens(torch.tensor([0, 20]), new, -new, places=25)
    assert k.shape == (2, 2, 25, 4)
    assert torch.equal(k[1, :, :21], history_1GTD[0, :, :21])
    assert torch.equal(v[0, :, :1], -history_1GTD[0, :, 20:21])
