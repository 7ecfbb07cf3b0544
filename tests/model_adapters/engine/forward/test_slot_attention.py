"""Every fast path of attention against the chunked reference, and what the engine's attention refuses."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_adapters.engine.forward import slot_attention
from model_adapters.engine.forward.decode_backends import scored_decode_attention
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.prefill_backends import FusedKernel, find_fused, find_windowed
from model_adapters.engine.forward.scoring import Scoring
from model_adapters.engine.forward.slot_attention import attention_path, decode_attention, prefill_attention
from model_adapters.engine.memory.layout import AttentionShape
from model_adapters.kernels.chunked_attention.reference import Attended, chunked_attention
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.families.recipes import build
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
        found = prefill_attention(q, k, v, window=window, scoring=Scoring(0.2))
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
    found = decode_attention(q, k, v, key_counts_B=position_B + 1, scale=0.2)
    expected, _ = chunked_attention(q, k, v, query_offset=position_B, scale=0.2)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fused_kernel_serves_on_a_cpu(kv_heads: int, dtype: torch.dtype) -> None:
    kernels = find_fused(AttentionShape(torch.device("cpu"), dtype, 4, kv_heads, 16, 16))
    assert [kernel.name for kernel in kernels] == ["flash (CPU)"]
    assert find_windowed(AttentionShape(torch.device("cpu"), dtype, 4, kv_heads, 16, 16), True) is None


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


@given(seed=st.integers(0, 2**32 - 1), T=st.integers(1, 90), cached=st.integers(0, 200), R=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_kernel_that_plans_for_lengths_gets_multiples_only(seed: int, T: int, cached: int, R: int) -> None:
    q, k, v = random_qkv(seed, G=2, R=R, T=T, S=T + cached, D=16)
    (flash,) = find_fused(AttentionShape.of(q, k, v))
    lengths: list[int] = []

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> Attended:
        lengths.extend((q.shape[2], k.shape[2]))
        return flash.attend(q, k, v, causal, scale)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot_attention, "PLANNED_TOKENS", 32)
        patch.setattr(slot_attention, "find_fused", lambda shape: (FusedKernel("planning", attend, True), flash))
        found = prefill_attention(q, k, v, window=None, scoring=Scoring(0.2))
    assert bool(lengths) == (T >= 32)
    assert not any(length % 32 for length in lengths)
    expected, _ = chunked_attention(q, k, v, query_offset=cached, scale=0.2)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_more_than_the_last_position_of_the_last_layer_is_computed(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last layer's queries whose output is not needed are skipped."""
    runner = ModelRunner(small_model(family))
    cache = runner.new_cache(slots=1, max_tokens=300)
    counts: list[int] = []
    original = prefill_attention

    def counted(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
        counts.append(q.shape[2])
        return original(q, k, v, **options)

    monkeypatch.setattr(slot_attention, "prefill_attention", counted)
    runner.prefill(cache, 0, random_prompt(300), 100)
    inner = len(runner.layout.calls) - 1
    assert counts == [100] * (3 * inner) + [1]


@pytest.mark.parametrize("segment_tokens", [20, 40, 80])
def test_a_ring_in_order_is_read_where_it_is(segment_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments after a multiple of the window see the ring itself, which they overwrite only afterwards."""
    model, token_ids = small_model("olmo3", sliding_window=40), random_prompt(171)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([token_ids])).logits[0, -2:]
    runner = ModelRunner(model)
    behind: list[bool] = []
    original = prefill_attention

    def noted(*tensors: torch.Tensor, **options: Any) -> torch.Tensor:
        behind.append(options["before"] is not None)
        return original(*tensors, **options)

    monkeypatch.setattr(slot_attention, "prefill_attention", noted)
    cache = runner.new_cache(slots=2, max_tokens=200)
    found = runner.prefill(cache, 1, token_ids[:-1], segment_tokens)
    windowed = sum(layer.window is not None for layer in runner.layout.layers)
    starts = range(0, 170, segment_tokens)
    assert sum(behind) == windowed * sum(start > 0 and start % 40 == 0 for start in starts)
    # What was stored afterwards is what the next token sees.
    more = runner.prefill(cache, 1, token_ids[-1:], 1)
    torch.testing.assert_close(torch.cat([found, more]), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["gemma3n_text", "gpt_oss", "mistral"])
def test_segments_of_whole_windows_are_as_one(family: str) -> None:
    """Layers that share keys, or whose scores have sinks, too."""
    runner, token_ids = ModelRunner(build(family)), random_prompt(150)
    window = min(layer.window for layer in runner.layout.layers if layer.window is not None)

    def logits(segment_tokens: int) -> torch.Tensor:
        cache = runner.new_cache(slots=1, max_tokens=160)
        whole = runner.prefill(cache, 0, token_ids, segment_tokens)
        return torch.cat([whole, runner.prefill(cache, 0, token_ids[:1], 1)])

    expected = logits(len(token_ids))
    for segment_tokens in (window, 2 * window):
        torch.testing.assert_close(logits(segment_tokens), expected, atol=2e-5, rtol=1e-4)


def test_the_attention_does_not_run_outside_the_engine() -> None:
    runner = ModelRunner(small_model("llama"))
    with pytest.raises(RuntimeError, match="works only inside the engine"):
        runner.model(torch.tensor([[1, 2, 3]]))


def test_attention_path_names_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = ModelRunner(small_model("qwen3_next")).layout
    assert attention_path(layout) == "flash (CPU)"
    monkeypatch.setattr(slot_attention, "find_fused", lambda shape: ())
    assert attention_path(layout) == "chunked reference"


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("sinks", [False, True])
def test_caps_and_sinks_are_those_of_the_definition(softcap: float | None, sinks: bool) -> None:
    """The sink is an additional score in the softmax whose weight goes to no value."""
    generator = torch.Generator().manual_seed(0)
    q_BHTD = torch.randn(2, 4, 9, 8, generator=generator)
    k_BGSD, v_BGSE = torch.randn(2, 2, 2, 30, 8, generator=generator)
    sinks_H = torch.randn(4, generator=generator) if sinks else None
    score_BHTS = q_BHTD @ k_BGSD.repeat_interleave(2, dim=1).transpose(-1, -2)
    score_BHTS = score_BHTS if softcap is None else softcap * torch.tanh(score_BHTS / softcap)
    query_T1, key_S = torch.arange(21, 30)[:, None], torch.arange(30)
    score_BHTS = score_BHTS.masked_fill((key_S > query_T1) | (key_S <= query_T1 - 12), -torch.inf)
    more = torch.full((2, 4, 9, 1), -torch.inf) if sinks_H is None else sinks_H[:, None, None].expand(2, 4, 9, 1)
    weight_BHTS = torch.cat([score_BHTS, more], dim=-1).softmax(-1)[..., :-1]
    expected = weight_BHTS @ v_BGSE.repeat_interleave(2, dim=1)
    scoring = Scoring(1.0, softcap, sinks_H)
    torch.testing.assert_close(prefill_attention(q_BHTD, k_BGSD, v_BGSE, window=12, scoring=scoring), expected)
    ring = k_BGSD[:, :, -12:], v_BGSE[:, :, -12:]
    counts_B = torch.tensor([30, 30])
    found = scored_decode_attention(q_BHTD[:, :, -1:], *ring, key_counts_B=counts_B, scoring=scoring)
    torch.testing.assert_close(found, expected[:, :, -1:])
