"""Multimodal checkpoints whose text model is a causal class are loaded as that class, without their other towers."""

from pathlib import Path

import pytest
import torch
import transformers

from evalkit.running.model_options import ModelOptions
from model_adapters.loading import load_model
from tests.model_adapters.families.recipes import small_config
from tests.model_adapters.small_models import EOS_ID, byte_tokenizer


@pytest.mark.parametrize(
    ("family", "saved_as"),
    [("qwen3_5", "Qwen3_5ForConditionalGeneration"), ("qwen3_5_moe", "Qwen3_5MoeForConditionalGeneration")],
)
def test_the_text_model_of_a_multimodal_checkpoint(family: str, saved_as: str, tmp_path: Path) -> None:
    config = small_config(family)
    config.text_config.eos_token_id = EOS_ID
    torch.manual_seed(0)
    whole = getattr(transformers, saved_as)(config).eval()
    whole.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    loaded = load_model(ModelOptions(str(tmp_path), device="cpu"))
    assert not any("visual" in name for name, _ in loaded.model.named_parameters())
    id_1T = torch.arange(20)[None]
    with torch.no_grad():
        expected = whole(input_ids=id_1T, use_cache=False).logits
        found = loaded.model(input_ids=id_1T, use_cache=False).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
