"""The kinds of layers are read from the configuration before weights, and unknown kinds are refused by name."""

import pytest
from transformers import Gemma3nTextConfig, LlamaConfig, MistralConfig

from evalkit.errors import UsageError
from model_adapters.bench.layer_kinds import LayerKind, layer_kinds
from tests.model_adapters.small_models import small_model

FULL, WINDOW, STATES = LayerKind(attention=True), LayerKind(attention=True, windowed=True), LayerKind(states=True)


def test_families() -> None:
    assert layer_kinds(small_model("olmo_hybrid").config) == (STATES, STATES, STATES, FULL)
    assert layer_kinds(small_model("olmo3").config) == (WINDOW, WINDOW, WINDOW, FULL)
    assert layer_kinds(small_model("llama").config) == (FULL, FULL)
    assert layer_kinds(small_model("qwen3_next").config) == (STATES, STATES, STATES, FULL)


def test_a_window_without_layer_types_is_every_layers() -> None:
    assert layer_kinds(MistralConfig(num_hidden_layers=2, sliding_window=64)) == (WINDOW, WINDOW)
    assert layer_kinds(MistralConfig(num_hidden_layers=2, sliding_window=None)) == (FULL, FULL)


def test_a_window_that_the_family_does_not_read_is_none() -> None:
    assert layer_kinds(LlamaConfig(num_hidden_layers=2, sliding_window=64)) == (FULL, FULL)


def test_layers_that_reuse_others_keys_keep_none() -> None:
    types = ["sliding_attention", "full_attention"] * 2
    config = Gemma3nTextConfig(num_hidden_layers=4, layer_types=types, num_kv_shared_layers=2)
    assert layer_kinds(config) == (WINDOW, FULL, LayerKind(), LayerKind())


def test_unknown_layer_types_are_refused_by_name() -> None:
    config = small_model("llama").config
    config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(UsageError, match=r"layers of type 'chunked_attention' \(llama\) are not supported"):
        layer_kinds(config)
