"""What a model stores is measured: every family gives transformers' own results or is refused in one line."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel
from transformers.masking_utils import chunked_overlay, sliding_window_causal_mask_function

from evalkit.errors import UsageError
from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.probe import NotSupportedError, Sight, read_sight
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.preflight.other_families import REFUSED_FAMILIES, UNUSUAL_FAMILIES, other_model
from tests.model_adapters.small_models import small_model

CPU = torch.device("cpu")
STRAY: dict[str, dict[str, Any]] = {
    "window": {"sliding_window": 24},
    "windows of some layers": {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]},
    "other layers": {"layer_types": ["linear_attention", "full_attention"]},
}


def plain_log_probabilities(model: PreTrainedModel, token_ids: Sequence[int]) -> torch.Tensor:
    """[T, V] by one eager pass of transformers without a cache."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        logits_TV: torch.Tensor = model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0]
    return logits_TV.double().log_softmax(-1)


def assert_equals_transformers(engine: Engine, model: PreTrainedModel) -> None:
    """Scores of a text in segments, continuations of a shared prefix, and batched decoding."""
    text, prefix, continuations = random_prompt(150), random_prompt(75), ((5,), random_prompt(9))
    requests = [Request("text", text, 0, scored_from=1)]
    for tokens in (7, 33):
        prompt = prefix + random_prompt(tokens)
        shared = {"prefix_id": "p", "prefix_tokens": 75, "continuations": continuations}
        requests.append(Request(f"shared {tokens}", prompt, 0, **shared))  # type: ignore[arg-type]
        requests.append(Request(f"alone {tokens}", prompt, 0, continuations=continuations))
        requests.append(Request(f"decoded {tokens}", prompt, 5))
    found = {generation.request_id: generation for generation in engine.generate(requests)}
    assert [generation.error for generation in found.values()] == [None] * len(requests)
    for request in requests:
        generation, prompt = found[request.id], request.token_ids
        if generation.scores is not None:
            log_TV = plain_log_probabilities(model, prompt)
            expected = log_TV[:-1].gather(1, torch.tensor(prompt[1:])[:, None])[:, 0].tolist()
            assert list(generation.scores.log_probabilities) == pytest.approx(expected, abs=2e-4)
        elif generation.continuations is not None:
            for score, continuation in zip(generation.continuations, continuations, strict=True):
                log_TV = plain_log_probabilities(model, prompt + continuation)[len(prompt) - 1 : -1]
                expected = log_TV.gather(1, torch.tensor(continuation)[:, None]).sum().item()
                assert score.log_probability == pytest.approx(expected, abs=5e-4)
        else:
            log_TV = plain_log_probabilities(model, prompt + generation.token_ids)[len(prompt) - 1 : -1]
            chosen = log_TV.gather(1, torch.tensor(generation.token_ids)[:, None])[:, 0]
            assert (log_TV.max(-1).values - chosen).max() < 1e-3


@pytest.mark.parametrize("family", UNUSUAL_FAMILIES)
def test_unusual_families_give_what_transformers_gives(family: str) -> None:
    assert_equals_transformers(Engine(other_model(family), segment_tokens=37, slots=2), other_model(family))


@pytest.mark.parametrize("stray", STRAY)
def test_keys_that_a_familys_code_does_not_read_change_nothing(stray: str) -> None:
    model = small_model("llama", **STRAY[stray])
    assert [layer.window for layer in ModelRunner(model).layout.layers] == [None, None]
    assert_equals_transformers(Engine(model, segment_tokens=37, slots=2), small_model("llama"))


@pytest.mark.parametrize("family", REFUSED_FAMILIES)
def test_families_that_compute_something_else_are_refused_in_one_line(family: str) -> None:
    model = other_model(family)
    with pytest.raises(UsageError, match=f"^{type(model).__name__} ") as refused:
        ModelRunner(model)
    assert "\n" not in str(refused.value)


def test_a_window_that_is_null_is_refused_in_one_line() -> None:
    model = small_model("olmo3")
    model.config.sliding_window = None
    with pytest.raises(UsageError, match=r"Olmo3ForCausalLM cannot be run by the engine .*sliding_window"):
        ModelRunner(model)


def test_layers_are_measured() -> None:
    layout = ModelRunner(other_model("gemma3n_text")).layout
    # Two layers with their own keys, the first with a window; the last two attend to these keys.
    per_token = 2 * 2 * 16 * 4
    assert [(layer.window, layer.kv_bytes) for layer in layout.layers] == [(40, per_token), (None, per_token)] + [
        (None, 0)
    ] * 2
    assert [call.layer_index for call in layout.calls] == [0, 1, 0, 1]
    assert [call.is_last for call in layout.calls] == [False, False, False, True]
    assert not any(layer.transformed for layer in layout.layers)
    layout = ModelRunner(other_model("deepseek_v3")).layout
    assert [(layer.transformed, layer.kv_bytes) for layer in layout.layers] == [(True, (16 + 8) * 4)] * 4
    # Attention followed by a state of the same layer is not the last call.
    layout = ModelRunner(small_model("olmo_hybrid")).layout
    assert [layer.state_bytes > 0 for layer in layout.layers] == [True, True, True, False]


def test_masks_are_read_at_any_length() -> None:
    for size in (1, 2, 24, 4096, 100_000):
        assert read_sight(sliding_window_causal_mask_function(size), CPU) == Sight(size)
    for size in (2, 24, 8192):
        chunks = chunked_overlay(size, torch.zeros(1, dtype=torch.long))
        assert read_sight(lambda *at, chunks=chunks: chunks(*at) & (at[3] <= at[2]), CPU) == Sight(size, chunked=True)
    assert read_sight(lambda _batch, _head, query, key: key <= query, CPU) == Sight()


@pytest.mark.parametrize("size", [2, 24, 8192])
def test_other_masks_are_refused(size: int) -> None:
    with pytest.raises(NotSupportedError, match="neither causality, nor a sliding window, nor chunks"):
        read_sight(lambda _batch, _head, query, key: key <= query + size, CPU)
    with pytest.raises(NotSupportedError):
        read_sight(lambda _batch, _head, query, key: (key <= query) & ((key < size) | (key > query - 3)), CPU)
