"""Layers are told apart by the configuration, and unknown kinds are refused by name."""

import pytest
from transformers import MistralConfig

from evalkit.errors import UsageError
from model_adapters.engine.layer_kinds import layer_kinds
from tests.model_adapters.small_models import small_model


def test_families() -> None:
    assert layer_kinds(small_model("olmo_hybrid").config) == ("linear", "linear", "linear", "attention")
    assert layer_kinds(small_model("olmo3").config) == ("sliding", "sliding", "sliding", "attention")
    assert layer_kinds(small_model("llama").config) == ("attention", "attention")
    assert layer_kinds(small_model("qwen3_next").config) == ("linear", "linear", "linear", "attention")


def test_a_window_without_layer_types_is_every_layers() -> None:
    assert layer_kinds(MistralConfig(num_hidden_layers=2, sliding_window=64)) == ("sliding", "sliding")
    assert layer_kinds(MistralConfig(num_hidden_layers=2, sliding_window=None)) == ("attention", "attention")


def test_unknown_layer_types_are_refused_by_name() -> None:
    config = small_model("llama").config
    config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(UsageError, match=r"layers of type 'chunked_attention' \(llama\) are not supported"):
        layer_kinds(config)
