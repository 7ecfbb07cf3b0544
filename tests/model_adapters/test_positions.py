"""Position schemes: what config.json states, compared with the frequencies of the model that transformers builds."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_rope_utils import RotaryEmbeddingConfigMixin

from evalkit.records import PositionScheme
from model_adapters.messages import quiet_transformers
from model_adapters.positions import read_positions, read_trained_length, table_end
from tests.model_adapters.small_models import FAMILIES, small_model

Stated = dict[str, Any]


@cache
def config_text(family: str) -> str:
    """The small model's config.json without any keys about positions."""
    values = json.loads(small_model(family).config.to_json_string())
    del values["rope_parameters"]
    return json.dumps(values)


def build(folder: Path, family: str, stated: Stated) -> tuple[Stated, PreTrainedModel]:
    """A config.json with `stated` added, and the model that transformers builds from it."""
    config_json = {**json.loads(config_text(family)), **stated}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_json))
    with quiet_transformers():
        return config_json, AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def rotary(model: PreTrainedModel) -> Any:
    return model.get_submodule("model").rotary_emb


def assert_frequencies(inv_freq: torch.Tensor, theta: float, rotated: int) -> None:
    torch.testing.assert_close(inv_freq, theta ** -(torch.arange(0, rotated, 2) / rotated), rtol=1e-5, atol=0.0)


# The three cases of OLMo Hybrid, each with its older spellings.


@pytest.mark.parametrize("stated", [{"rope_parameters": {"rope_theta": None}}, {"rope_theta": None}])
def test_a_null_theta_means_no_positions(tmp_path: Path, stated: Stated) -> None:
    config_json, model = build(tmp_path, "olmo_hybrid", stated)
    assert rotary(model) is None
    assert read_positions(config_json, model) == PositionScheme("none", "none (DRoPE: rope_theta is null)")


@pytest.mark.parametrize("stated", [{}, {"rope_parameters": None}, {"rope_parameters": {}}, {"rope_scaling": None}])
def test_a_theta_that_is_not_stated_is_injected_and_said_to_be(tmp_path: Path, stated: Stated) -> None:
    config_json, model = build(tmp_path, "olmo_hybrid", stated)
    assert_frequencies(rotary(model).inv_freq, 10_000.0, 16)
    assert read_positions(config_json, model) == PositionScheme(
        kind="rope",
        description="RoPE θ=10000 (θ=10000 is injected by transformers: the checkpoint states none)",
        theta=10_000.0,
        injected=True,
    )


@pytest.mark.parametrize(
    "stated", [{"rope_parameters": {"rope_theta": 5e5}}, {"rope_theta": 5e5}, {"rope_theta": 5e5, "rope_scaling": None}]
)
def test_a_stated_theta_is_used(tmp_path: Path, stated: Stated) -> None:
    config_json, model = build(tmp_path, "olmo_hybrid", stated)
    assert_frequencies(rotary(model).inv_freq, 5e5, 16)
    assert read_positions(config_json, model) == PositionScheme("rope", "RoPE θ=500000", theta=5e5)


# Other families, and the other kinds.


@settings(max_examples=25, deadline=None)
@given(theta=st.floats(100.0, 1e9), family=st.sampled_from(["llama", "olmo_hybrid", "qwen3_next"]), old=st.booleans())
def test_any_stated_theta_is_that_of_the_built_model(
    tmp_path_factory: pytest.TempPathFactory, theta: float, family: str, old: bool
) -> None:
    stated: Stated = {"rope_theta": theta} if old else {"rope_parameters": {"rope_theta": theta}}
    config_json, model = build(tmp_path_factory.mktemp("config"), family, stated)
    positions = read_positions(config_json, model)
    assert (positions.kind, positions.theta, positions.injected) == ("rope", theta, False)
    assert_frequencies(rotary(model).inv_freq, theta, 4 if family == "qwen3_next" else 16)


@pytest.mark.parametrize(
    ("family", "theta", "description"),
    [
        ("llama", 1e4, "RoPE θ=10000 (θ=10000 is injected by transformers: the checkpoint states none)"),
        ("olmo3", 5e5, "RoPE θ=500000 (θ=500000 is injected by transformers: the checkpoint states none)"),
        (
            "qwen3_next",
            1e4,
            "RoPE θ=10000, on 25% of each head (θ=10000 is injected by transformers: the checkpoint states none)",
        ),
    ],
)
def test_each_family_has_its_own_default(tmp_path: Path, family: str, theta: float, description: str) -> None:
    config_json, model = build(tmp_path, family, {})
    assert read_positions(config_json, model) == PositionScheme("rope", description, theta=theta, injected=True)


def scaled(kind: str, **values: Any) -> Stated:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 5e5, **values}}


LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
ORIGINAL = {"original_max_position_embeddings": 512}


@pytest.mark.parametrize(
    ("stated", "expected", "trained_length"),
    [
        (
            scaled("linear", factor=4.0),
            PositionScheme("linear", "RoPE θ=500000, linear scaling ×4", theta=5e5, factor=4.0),
            4096,
        ),
        (
            {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}},
            PositionScheme("linear", "RoPE θ=500000, linear scaling ×4", theta=5e5, factor=4.0),
            4096,
        ),
        (
            scaled("dynamic", factor=2.5),
            PositionScheme(
                "dynamic",
                "RoPE θ=500000, dynamic NTK scaling ×2.5 beyond 4,096 tokens",
                theta=5e5,
                factor=2.5,
                original_length=4096,
            ),
            4096,
        ),
        (
            scaled("yarn", factor=8.0, **ORIGINAL),
            PositionScheme(
                "yarn",
                "YaRN ×8 from 512 to 4,096 tokens, RoPE θ=500000",
                theta=5e5,
                factor=8.0,
                original_length=512,
            ),
            4096,
        ),
        (
            # The other convention: max_position_embeddings is the length before the extension.
            scaled("yarn", factor=4.0, original_max_position_embeddings=4096),
            PositionScheme(
                "yarn",
                "YaRN ×4 from 4,096 to 16,384 tokens, RoPE θ=500000",
                theta=5e5,
                factor=4.0,
                original_length=4096,
            ),
            16_384,
        ),
        (
            {"rope_theta": 5e5, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
            PositionScheme(
                "yarn",
                "YaRN ×4 from 4,096 to 16,384 tokens, RoPE θ=500000 (the original length 4,096 is injected by "
                "transformers: the checkpoint states none)",
                theta=5e5,
                factor=4.0,
                original_length=4096,
                injected=True,
            ),
            16_384,
        ),
        (
            scaled("llama3", factor=8.0, **LLAMA3, **ORIGINAL),
            PositionScheme(
                "llama3",
                "RoPE θ=500000, Llama 3 scaling ×8 from 512 tokens",
                theta=5e5,
                factor=8.0,
                original_length=512,
            ),
            4096,
        ),
        (
            scaled("longrope", **LONG, **ORIGINAL),
            PositionScheme(
                "longrope",
                "LongRoPE ×8 from 512 to 4,096 tokens, RoPE θ=500000",
                theta=5e5,
                factor=8.0,
                original_length=512,
            ),
            4096,
        ),
        (
            scaled("proportional", partial_rotary_factor=0.5),
            PositionScheme("other", "RoPE θ=500000, scaling 'proportional', on 50% of each head", theta=5e5),
            4096,
        ),
    ],
)
def test_scaled_kinds(tmp_path: Path, stated: Stated, expected: PositionScheme, trained_length: int) -> None:
    config_json, model = build(tmp_path, "llama", stated)
    positions = read_positions(config_json, model)
    assert positions == expected
    assert read_trained_length(config_json, model.config, positions) == trained_length


def test_yarn_changes_the_built_frequencies_and_they_are_distinguished(tmp_path: Path) -> None:
    _, plain = build(tmp_path / "plain", "llama", {"rope_theta": 5e5})
    _, scaled_model = build(tmp_path / "yarn", "llama", scaled("yarn", factor=8.0, **ORIGINAL))
    assert not torch.equal(rotary(plain).inv_freq, rotary(scaled_model).inv_freq)


# Layers of several kinds.


def test_layers_that_share_a_scheme_are_described_once(tmp_path: Path) -> None:
    both = {"rope_type": "default", "rope_theta": 5e5}
    stated = {"rope_parameters": {"sliding_attention": both, "full_attention": both}}
    config_json, model = build(tmp_path, "olmo3", stated)
    assert read_positions(config_json, model) == PositionScheme("rope", "RoPE θ=500000", theta=5e5)


def test_transformers_5_17_has_the_same_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for family, stated in (("olmo3", {"rope_theta": 1e6}), ("llama", scaled("linear", factor=4.0))):
        config_json, model = build(tmp_path / family, family, stated)
        expected = read_positions(config_json, model)
        with monkeypatch.context() as earlier:
            earlier.delattr(RotaryEmbeddingConfigMixin, "nested_rope_parameter_keys", raising=False)
            assert read_positions(config_json, model) == expected


@pytest.mark.parametrize(
    "stated",
    [
        {
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 5e5},
                "full_attention": {"rope_type": "yarn", "rope_theta": 5e5, "factor": 8.0, **ORIGINAL},
            }
        },
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "yarn", "factor": 8.0, **ORIGINAL}},
    ],
)
def test_full_attention_layers_may_be_extended_alone(tmp_path: Path, stated: Stated) -> None:
    config_json, model = build(tmp_path, "olmo3", stated)
    positions = read_positions(config_json, model)
    assert positions == PositionScheme(
        kind="yarn",
        description="full_attention: YaRN ×8 from 512 to 4,096 tokens, RoPE θ=500000; sliding_attention: RoPE θ=500000",
        theta=5e5,
        factor=8.0,
        original_length=512,
    )
    assert_frequencies(rotary(model).sliding_attention_inv_freq, 5e5, 16)


def test_a_theta_that_transformers_drops_for_some_layers_is_noticed(tmp_path: Path) -> None:
    # transformers 5.23 applies a top-level θ to Olmo 3's full-attention layers and its own default to the others.
    config_json, model = build(tmp_path, "olmo3", {"rope_theta": 1e6})
    assert_frequencies(rotary(model).full_attention_inv_freq, 1e6, 16)
    assert_frequencies(rotary(model).sliding_attention_inv_freq, 5e5, 16)
    positions = read_positions(config_json, model)
    assert positions.injected
    assert positions.description == (
        "full_attention: RoPE θ=1000000; sliding_attention: RoPE θ=500000 (θ=500000 is injected by transformers: the "
        "checkpoint states 1000000)"
    )


def test_a_module_that_does_not_follow_its_configuration_is_believed(tmp_path: Path) -> None:
    config_json, model = build(tmp_path, "llama", {"rope_theta": 5e5})
    rotary(model).inv_freq.copy_(2e4 ** -(torch.arange(0, 16, 2) / 16))
    positions = read_positions(config_json, model)
    assert positions.theta == pytest.approx(2e4, rel=1e-4)
    assert positions.injected
    assert positions.description.endswith("is injected by transformers: the checkpoint states 500000)")


def test_half_precision_does_not_blur_the_theta(tmp_path: Path) -> None:
    config_json, model = build(tmp_path, "llama", {"rope_theta": 5e5})
    assert read_positions(config_json, model.to(torch.bfloat16)) == PositionScheme("rope", "RoPE θ=500000", theta=5e5)


# Families with other kinds of positions, or none.


def small(model_type: str, **values: Any) -> Callable[[], PreTrainedModel]:
    def make() -> PreTrainedModel:
        with quiet_transformers():
            return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **values))

    return make


@pytest.mark.parametrize(
    ("make", "kind", "description"),
    [
        (
            small(
                "gpt2", n_layer=1, n_embd=16, n_head=2, vocab_size=32, n_positions=64, bos_token_id=1, eos_token_id=1
            ),
            "other",
            "learned absolute positions, at most 64",
        ),
        (small("bloom", n_layer=1, hidden_size=16, n_head=2, vocab_size=32), "other", "ALiBi (a bias by distance)"),
        (
            small("mamba2", num_hidden_layers=1, hidden_size=16, head_dim=8, num_heads=4, vocab_size=32, n_groups=1),
            "none",
            "none",
        ),
        (
            small("gptj", n_layer=1, n_embd=16, n_head=2, rotary_dim=4, vocab_size=32, bos_token_id=1, eos_token_id=1),
            "other",
            "not recognised for the family gptj",
        ),
        (
            small(
                "smollm3",
                num_hidden_layers=4,
                hidden_size=16,
                intermediate_size=16,
                num_attention_heads=2,
                num_key_value_heads=2,
                vocab_size=32,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=1,
                no_rope_layers=[1, 1, 1, 0],
                rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            ),
            "rope",
            "RoPE θ=1000000, none in 1 of 4 layers",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_families(make: Callable[[], PreTrainedModel], kind: str, description: str) -> None:
    model = make()
    positions = read_positions(json.loads(model.config.to_json_string()), model)
    assert (positions.kind, positions.description) == (kind, description)


# Trained length.


@pytest.mark.parametrize(
    ("config_json", "expected"),
    [
        ({"max_position_embeddings": 65_536}, 65_536),
        ({"text_config": {"max_position_embeddings": 131_072}, "max_position_embeddings": 5}, 131_072),
        ({}, None),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_the_trained_length_is_what_config_json_states(config_json: Mapping[str, Any], expected: int | None) -> None:
    config = small_model("llama").config
    assert read_trained_length(config_json, config, PositionScheme("none", "none")) == expected


def test_a_family_may_have_its_own_name_for_the_trained_length() -> None:
    config = AutoConfig.for_model("gpt2")
    assert read_trained_length({"n_positions": 1024}, config, PositionScheme("other", "learned")) == 1024


TABLES: dict[str, dict[str, Any]] = {
    "bart": {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16},
    "bert": {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16},
    "biogpt": {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16},
    "ctrl": {"n_embd": 16, "n_head": 2, "n_layer": 1, "dff": 16},
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 1},
    "gpt_bigcode": {"n_embd": 16, "n_head": 2, "n_layer": 1},
    "gpt_neo": {
        "hidden_size": 16,
        "num_heads": 2,
        "num_layers": 1,
        "attention_types": [[["global"], 1]],
    },
    "gptj": {"n_embd": 16, "n_head": 2, "n_layer": 1, "rotary_dim": 4},
    "openai-gpt": {"n_embd": 16, "n_head": 2, "n_layer": 1},
    "opt": {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "ffn_dim": 16},
    "roberta": {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16},
}
"""Families with a table of positions, and sizes that make them small."""


@pytest.mark.parametrize("family", TABLES)
def test_a_table_of_positions_ends_where_transformers_fails(family: str) -> None:
    """However many rows a family skips at the start; the same on the meta device, before weights are read."""
    length = "n_positions" if "n_embd" in TABLES[family] else "max_position_embeddings"
    values = {
        "vocab_size": 40,
        length: 24,
        "is_decoder": True,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        **TABLES[family],
    }
    with torch.device("meta"):
        end = table_end(small(family, **values)())
    model = small(family, **values)().eval()
    assert end is not None
    assert end == table_end(model)
    with torch.no_grad():
        model(torch.arange(5, 5 + end)[None])
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.arange(5, 6 + end)[None])


@pytest.mark.parametrize("family", FAMILIES)
def test_computed_positions_have_no_end(family: str) -> None:
    assert table_end(small_model(family)) is None
