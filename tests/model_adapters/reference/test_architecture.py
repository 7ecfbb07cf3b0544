"""The model shapes of the recipe, and the checkpoints that ship with evalkit."""

import json

import pytest
from transformers import AutoModelForCausalLM

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import load_model
from model_adapters.reference import NAMES, folder
from model_adapters.reference.architecture import EOS_ID, KINDS, TRAINED_TOKENS, make_config
from model_adapters.reference.tokenizer import VOCABULARY

LARGEST_BYTES = 12_000_000


def test_both_shapes_have_the_same_number_of_parameters_within_5_percent() -> None:
    counts = [
        sum(p.numel() for p in AutoModelForCausalLM.from_config(make_config(kind, VOCABULARY)).parameters())
        for kind in KINDS
    ]
    assert min(counts) >= 3e6
    assert max(counts) <= 6e6
    assert max(counts) / min(counts) <= 1.05


def test_one_tokenizer_serves_both() -> None:
    assert len({(folder(name) / "tokenizer.json").read_bytes() for name in NAMES}) == 1


def test_an_unknown_shape_is_named() -> None:
    with pytest.raises(ValueError, match="'rnn' is none of hybrid, transformer"):
        make_config("rnn", VOCABULARY)


def test_an_unknown_reference_model_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'hybrid'"):
        folder("hybird")


@pytest.mark.parametrize("name", NAMES)
def test_the_checkpoint_that_ships_is_plain_small_and_trained(name: str) -> None:
    loaded = load_model(ModelOptions(f"reference:{name}", device="cpu"))
    assert loaded.identity.trained
    assert loaded.identity.trained_length == TRAINED_TOKENS
    assert loaded.identity.positions.kind == {"hybrid": "none", "transformer": "rope"}[name]
    assert loaded.tokens_seen == json.loads((folder(name) / "evalkit.json").read_text())["tokens_seen"]
    assert sum(file.stat().st_size for file in folder(name).iterdir()) <= LARGEST_BYTES
    assert loaded.tokenizer.decode([EOS_ID]) == ""
    digits = loaded.tokenizer.encode("4096")
    assert len(digits) == 4
