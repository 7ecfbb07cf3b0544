"""Every fast path of attention against the chunked reference, and what the engine's attention refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_adapters.engine.forward import slot_attention
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.prefill_backends import FusedKernel, find_fused, find_windowed
from model_adapters.engine.forward.slot_attention import attention_path, decode_attention, prefill_attention
from model_adapters.engine.memory.layout import AttentionShape
from model_adapters.kernels.chunked_attention.reference import Attended, chunked_attention
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.small_models import FAMILIES, small_model


def random_qkv(seed: int, *, B: int = 1, G: int, R: int, T: int, S: int, D: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(B, heads, length, D, generator=generator) for heads, length in ((G * R, T), (G, S), (G, S))
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    G=st.integers(1, 3),
    R=st.integers(1, 3),
    T=st.integers(1, 200),
    cached=st.integers(0, 300),
    window=st.one_of(st.none(), st.integers(1, 320)),
    block=st.sampled_from([16, 64, 512]),
)
@settings(max_examples=80, deadline=None)
def test_prefill_equals_reference(
    seed: int, G: int, R: int, T: int, cached: int, window: int | None, block: int
) -> None:
    q, k, v = random_qkv(seed, G=G, R=R, T=T, S=T + cached, D=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot_attention, "WINDOW_BLOCK_TOKENS", block)
        found = prefill_attention(q, k, v, window=window, scale=0.2)
    expected, _ = chunked_attention(q, k, v, query_offset=cached, window=window, scale=0.2)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    G=st.integers(1, 3),
    R=st.integers(1, 3),
    lengths=st.lists(st.integers(0, 99), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_decode_equals_reference(seed: int, G: int, R: int, lengths: list[int]) -> None:
    q, k, v = random_qkv(seed, B=len(lengths), G=G, R=R, T=1, S=100, D=16)
    position_B = torch.tensor(lengths)
    found = decode_attention(q, k, v, position_B=position_B, scale=0.2)
    expected, _ = chunked_attention(q, k, v, query_offset=position_B, scale=0.2)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fused_kernel_serves_on_a_cpu(kv_heads: int, dtype: torch.dtype) -> None:
    kernels = find_fused(AttentionShape(torch.device("cpu"), dtype, 4, kv_heads, 16, 16))
    assert [kernel.name for kernel in kernels] == ["flash (CPU)"]
    assert find_windowed(AttentionShape(torch.device("cpu"), dtype, 4, kv_heads, 16, 16)) is None


def test_a_fused_kernel_that_disagrees_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = AttentionShape(torch.device("cpu"), torch.float32, 4, 2, 12, 12)
    (real,) = find_fused(shape)

    def off(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> Attended:
        out, lse = real.attend(q, k, v, causal, scale)
        return out, lse + 0.01

    def refusing(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> Attended:
        raise RuntimeError("no kernel for this shape")

    kernels = FusedKernel("off", off), FusedKernel("refusing", refusing), real
    monkeypatch.setattr("model_adapters.engine.forward.prefill_backends._KERNELS", {"cpu": kernels})
    find_fused.cache_clear()
    assert find_fused(shape) == (real,)
    find_fused.cache_clear()


def test_kernels_that_plan_for_lengths_get_those_that_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = AttentionShape(torch.device("cpu"), torch.float32, 4, 2, 16, 16)
    (flash,) = find_fused(shape)
    planning = FusedKernel("planning", flash.attend, plans_lengths=True)
    monkeypatch.setattr(slot_attention, "find_fused", lambda shape: (planning, flash))
    assert slot_attention._pick_kernel(shape, 2048, 8192) is planning
    assert slot_attention._pick_kernel(shape, 2047, 8191) is flash
    monkeypatch.setattr(slot_attention, "find_fused", lambda shape: (planning,))
    assert slot_attention._pick_kernel(shape, 2047, 8191) is planning


@pytest.mark.parametrize("family", FAMILIES)
def test_no_more_than_the_last_position_of_the_last_layer_is_computed(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer's queries whose output nobody reads are left out; the others all count."""
    runner = ModelRunner(small_model(family))
    cache = runner.new_cache(slots=1, max_tokens=300)
    counts: list[int] = []
    original = prefill_attention

    def counted(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, window: int | None, scale: float) -> torch.Tensor:
        counts.append(q.shape[2])
        return original(q, k, v, window=window, scale=scale)

    monkeypatch.setattr(slot_attention, "prefill_attention", counted)
    runner.prefill(cache, 0, random_prompt(300), 100)
    inner = len(runner.layout.calls) - 1
    assert counts == [100] * (3 * inner) + [1]


def test_the_attention_does_not_run_outside_the_engine() -> None:
    runner = ModelRunner(small_model("llama"))
    with pytest.raises(RuntimeError, match="works only inside the engine"):
        runner.model(torch.tensor([[1, 2, 3]]))


def test_attention_path_names_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = ModelRunner(small_model("qwen3_next")).layout
    assert attention_path(layout) == "flash (CPU)"
    monkeypatch.setattr(slot_attention, "find_fused", lambda shape: ())
    assert attention_path(layout) == "chunked reference"
