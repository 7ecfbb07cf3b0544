"""Segmented prefill equals transformers' one-shot forward pass."""

import gc
import weakref
from functools import cache
from typing import Any

import pytest
import torch

from evalkit.errors import UsageError
from model_adapters.engine.forward import model_runner
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.module_patches import patches_of
from model_adapters.preflight.equivalence import windows_set_to
from tests.model_adapters.engine.prompts import one_shot_logits, random_prompt
from tests.model_adapters.small_models import FAMILIES, small_model

CPU = torch.device("cpu")


@cache
def runner_of(family: str) -> ModelRunner:
    """One runner for all tests that only read; everything that a prompt leaves is in its cache."""
    return ModelRunner(small_model(family))


def prefill(
    family: str, prompt: tuple[int, ...], segment_tokens: int, *, runner: ModelRunner | None = None
) -> torch.Tensor:
    runner = runner or runner_of(family)
    cache = runner.new_cache(slots=1, max_tokens=len(prompt))
    logits_1V = runner.prefill(cache, 0, prompt, segment_tokens)
    assert cache.lengths[0] == len(prompt)
    assert cache.length_N.tolist() == cache.lengths
    return logits_1V


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("segment_tokens", [63, 64, 65, 1000, 1100])
def test_logits_equal_one_shot(family: str, segment_tokens: int) -> None:
    prompt = random_prompt(1100)
    expected = one_shot_logits(family, prompt)
    # The comparison is meaningful only if logits differ enough from each other.
    assert expected.std() > 0.5
    torch.testing.assert_close(prefill(family, prompt, segment_tokens), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_one_shot_with_segments_of_one_token(family: str) -> None:
    # Longer than olmo3's window of 200, so that its ring wraps around.
    prompt = random_prompt(230)
    torch.testing.assert_close(prefill(family, prompt, 1), one_shot_logits(family, prompt), atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [1, 2, 3, 5])
def test_prompts_shorter_than_the_convolution(family: str, tokens: int) -> None:
    prompt = random_prompt(tokens)
    for segment_tokens in (1, 2, 64):
        found = prefill(family, prompt, segment_tokens)
        torch.testing.assert_close(found, one_shot_logits(family, prompt), atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_slots_are_not_touched(family: str) -> None:
    runner = runner_of(family)
    cache = runner.new_cache(slots=3, max_tokens=400)
    runner.prefill(cache, 0, random_prompt(300, seed=1), 128)
    before = [tensor.clone() for tensor in cache._tensors(0, 300)]
    prompt = random_prompt(333)
    logits_1V = runner.prefill(cache, 1, prompt, 100)
    torch.testing.assert_close(logits_1V, one_shot_logits(family, prompt), atol=1e-4, rtol=0)
    assert cache.lengths[0] == 300
    assert all(torch.equal(a, b) for a, b in zip(cache._tensors(0, 300), before, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_used_slot_starts_from_nothing(family: str) -> None:
    runner = runner_of(family)
    cache = runner.new_cache(slots=1, max_tokens=400)
    runner.prefill(cache, 0, random_prompt(400, seed=1), 128)
    cache.reset(0)
    prompt = random_prompt(260)
    found = runner.prefill(cache, 0, prompt, 64)
    torch.testing.assert_close(found, one_shot_logits(family, prompt), atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["llama", "olmo3"])
def test_without_fused_kernels_the_reference_does_all(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_adapters.engine.forward.slot_attention.find_fused", lambda shape: ())
    prompt, runner = random_prompt(500), ModelRunner(small_model(family))
    torch.testing.assert_close(
        prefill(family, prompt, 150, runner=runner), one_shot_logits(family, prompt), atol=1e-4, rtol=0
    )


def test_a_model_on_several_devices_is_refused() -> None:
    """As transformers' `device_map` spreads it: weights that do not fit a GPU stay on another, the host or the disk."""
    model = small_model("llama")
    model.model.layers[-1].to("meta")
    with pytest.raises(UsageError, match="LlamaForCausalLM is spread over cpu, meta; a model runs on one device"):
        ModelRunner(model)


def test_no_mask_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    ones = torch.Tensor.__and__

    def watched(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        result = ones(a, b)
        largest = max(largest, result.numel())
        return result

    monkeypatch.setattr(torch.Tensor, "__and__", watched)
    prompt = random_prompt(1100)
    prefill("olmo3", prompt, 128, runner=ModelRunner(small_model("olmo3")))
    assert 0 < largest <= 128 * (200 + 128)


def test_a_model_is_measured_once_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, own, measured = small_model("olmo3"), model_runner.measure_memory, []

    def measure(*arguments: Any) -> Any:
        measured.append(model.config.sliding_window)
        return own(*arguments)

    monkeypatch.setattr(model_runner, "measure_memory", measure)
    first = ModelRunner(model)
    again = ModelRunner(model)
    assert again.layout == first.layout
    assert again._mixers == first._mixers
    assert len(measured) == 1
    prompt = random_prompt(40)
    caches = [runner.new_cache(slots=1, max_tokens=40) for runner in (first, again)]
    logits = [runner.prefill(cache, 0, prompt, 16) for runner, cache in zip((first, again), caches, strict=True)]
    assert torch.equal(*logits)
    with windows_set_to(model, 24):
        assert ModelRunner(model).layout != first.layout
    assert measured == [200, 24]
    norm = model.model.norm
    patches_of(model).place(norm, "forward", type(norm).forward.__get__(norm))
    ModelRunner(model)
    patches_of(model).clear()
    model.model.layers = model.model.layers[:2]
    assert ModelRunner(model).layout != first.layout
    model.to(torch.bfloat16)  # type: ignore[arg-type]  # its decorator hides the signature
    ModelRunner(model)
    assert len(measured) == 5


def test_what_is_known_of_a_model_does_not_keep_it() -> None:
    model = small_model("olmo_hybrid")
    ModelRunner(model)
    freed = weakref.ref(model)
    del model
    gc.collect()
    assert freed() is None
