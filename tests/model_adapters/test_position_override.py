"""Forced positions give the same model as building it with them, and are reported as a control experiment."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import LoadedModel, load_model
from model_adapters.position_override import PositionOverride
from tests.model_adapters.families.recipes import small_config
from tests.model_adapters.small_models import byte_tokenizer, save_small_checkpoint, small_model

IDS_1T = torch.randint(0, 256, (1, 90), generator=torch.Generator().manual_seed(3))
THETA = {"rope_type": "default", "rope_theta": 10_000.0}


def load(folder: Path, override: str | None) -> LoadedModel:
    return load_model(ModelOptions(str(folder), device="cpu", dtype="float32", override=override))


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS_1T, use_cache=False).logits
    return found


def assert_same(one: PreTrainedModel, other: PreTrainedModel) -> None:
    torch.testing.assert_close(logits(one), logits(other), atol=1e-5, rtol=0)


def test_none_is_what_a_dropped_theta_gives(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "olmo_hybrid", rope_parameters=THETA)
    forced = load(folder, "none")
    assert (logits(forced.model) - logits(load(folder, None).model)).abs().max() > 1e-2
    assert_same(forced.model, small_model("olmo_hybrid", rope_parameters={**THETA, "rope_theta": None}))
    assert forced.identity.positions.kind == "none"


def test_none_leaves_a_layer_blind_to_order(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "llama", num_hidden_layers=1)
    turned_1T = torch.cat([IDS_1T[:, :-1].flip(1), IDS_1T[:, -1:]], dim=1)
    for override, blind in (("none", True), (None, False)):
        model = load(folder, override).model
        with torch.no_grad():
            gap = (model(input_ids=turned_1T).logits[0, -1] - logits(model)[0, -1]).abs().max()
        assert (gap < 1e-4) == blind


@pytest.mark.parametrize(
    ("override", "parameters"),
    [
        ("rope:theta=500000", {"rope_type": "default", "rope_theta": 500_000.0}),
        ("linear:factor=4", {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}),
        ("ntk:factor=4", {"rope_type": "default", "rope_theta": 10_000.0 * 4 ** (16 / 14)}),
        (
            "yarn:factor=8,original=512",
            {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 8.0, "original_max_position_embeddings": 512},
        ),
    ],
)
def test_a_forced_scheme_is_the_one_that_would_have_been_built(
    tmp_path: Path, override: str, parameters: dict[str, Any]
) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "llama")
    loaded = load(folder, override)
    assert_same(loaded.model, small_model("llama", rope_parameters=parameters))
    assert (logits(loaded.model) - logits(small_model("llama"))).abs().max() > 1e-3
    positions = loaded.identity.positions
    assert positions.override == override
    assert positions.description.endswith("forced by --override, not the checkpoint's own)")
    assert not positions.injected
    assert loaded.identity.trained_length == 4096


@pytest.mark.parametrize(("family", "factor"), [("llama", 4), ("qwen3_next", 2.5)])
def test_ntk_is_what_dynamic_scaling_has_at_that_many_times_the_original_length(
    tmp_path: Path, family: str, factor: float
) -> None:
    """transformers' dynamic scaling with a factor of 1 multiplies θ by (length / original) ^ (d / (d - 2))."""
    folder = save_small_checkpoint(tmp_path / "model", family)
    loaded = load(folder, f"ntk:factor={factor}")
    config = small_model(family).config
    own = dict(config.rope_parameters)
    config.rope_parameters = {**own, "rope_type": "dynamic", "factor": 1.0}
    length = int(factor * config.max_position_embeddings)
    expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](config, seq_len=length)
    built = next(module for name, module in loaded.model.named_modules() if name.endswith("rotary_emb"))
    torch.testing.assert_close(built.inv_freq, expected, rtol=1e-6, atol=0.0)
    assert f"(NTK-aware ×{factor:g}, forced by --override" in loaded.identity.positions.description


@pytest.mark.parametrize(
    ("override", "parameters"),
    [
        ("linear:factor=4", {"rope_type": "linear", "factor": 4.0}),
        ("yarn:factor=8,original=512", {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 512}),
    ],
)
def test_forced_frequencies_are_transformers_own(tmp_path: Path, override: str, parameters: dict[str, Any]) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "llama")
    rotary = load(folder, override).model.get_submodule("model").rotary_emb
    config = small_model("llama").config
    config.rope_parameters = {"rope_theta": 10_000.0, **parameters}
    expected, scale = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config)
    torch.testing.assert_close(rotary.inv_freq, expected, rtol=1e-6, atol=0.0)
    assert rotary.attention_scaling == pytest.approx(scale)


def test_two_rotated_dimensions_cannot_be_stretched_by_their_theta(tmp_path: Path) -> None:
    rotated = {**THETA, "partial_rotary_factor": 0.125}
    folder = save_small_checkpoint(tmp_path / "model", "qwen3_next", rope_parameters=rotated)
    with pytest.raises(UsageError, match="only 2 dimensions of a head are rotated; use linear or yarn"):
        load(folder, "ntk:factor=4")


def test_positions_can_be_forced_on_a_model_without_any(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "olmo_hybrid")
    assert load(folder, None).identity.positions.kind == "none"
    loaded = load(folder, "rope:theta=10000")
    assert loaded.identity.positions.kind == "rope"
    assert_same(loaded.model, small_model("olmo_hybrid", rope_parameters=THETA))
    with pytest.raises(UsageError, match="states no θ; add theta="):
        load(folder, "yarn:factor=8,original=512")
    assert load(folder, "yarn:factor=8,original=512,theta=10000").identity.positions.kind == "yarn"


def test_positions_that_are_not_rotary_cannot_be_taken_out(tmp_path: Path) -> None:
    """Nothing would change, although the record would report positions as removed."""
    GPT2LMHeadModel(GPT2Config(vocab_size=288, n_embd=16, n_layer=1, n_head=2, n_positions=64)).save_pretrained(
        tmp_path
    )
    byte_tokenizer().save_pretrained(tmp_path)
    expected = "--override none: the model has learned absolute positions, at most 64, and only rotary positions can be"
    with pytest.raises(UsageError, match=expected):
        load(tmp_path, "none")


def test_only_full_attention_is_changed_where_layers_differ(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "olmo3")
    loaded = load(folder, "yarn:factor=8,original=512")
    parameters = loaded.model.config.rope_parameters
    assert parameters["sliding_attention"]["rope_type"] == "default"
    assert parameters["full_attention"]["rope_type"] == "yarn"
    assert "sliding_attention: RoPE" in loaded.identity.positions.description


def test_ntk_takes_the_head_size_of_full_attention() -> None:
    config = small_config("gemma4_text")  # its heads have 32 dimensions there, and 16 elsewhere
    own = config.rope_parameters["full_attention"]
    assert own["partial_rotary_factor"] == 0.25
    forced = PositionOverride.parse("ntk:factor=4").configure(config)["full_attention"]
    assert forced["rope_theta"] == pytest.approx(own["rope_theta"] * 4 ** (8 / 6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yam:factor=8", "did you mean 'yarn'"),
        ("yarn:factor=8", r"yarn needs original; write yarn:original=…"),
        ("rope:theta=-3", r"'theta=-3' is not understood; rope takes theta=…"),
        ("rope:theta=0", "is not understood"),
        ("rope:theta=1e999", "is not understood"),
        ("none:theta=3", "none takes nothing"),
        ("rope", "rope needs theta"),
        ("ntk", "ntk needs factor; write ntk:factor=…"),
        ("ntk:factor=0.5", "factor is 0.5; it stretches by 1 or more"),
        ("yarn:factor=8,original=0.5", "original is a number of tokens"),
    ],
)
def test_bad_overrides_are_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PositionOverride.parse(text)
