"""Small random models of four families, and small checkpoints on disk, for all tests that run a model.

model = small_model("olmo_hybrid")
model = small_model("olmo3", sliding_window=100, num_hidden_layers=2)
save_small_checkpoint(tmp_path / "checkpoint", "llama")
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    Olmo3Config,
    OlmoHybridConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3NextConfig,
)

FAMILIES = ("olmo_hybrid", "olmo3", "llama", "qwen3_next")

PAD_ID, BOS_ID, EOS_ID = 256, 257, 258
VOCAB_SIZE = 288
"""256 bytes, three special tokens, and ids that no text encodes to."""

_SHARED: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
    # Wide enough for logits of about one: with transformers' 0.02 they would agree within 1e-4 only by being small.
    "initializer_range": 0.15,
    "pad_token_id": PAD_ID,
    "bos_token_id": BOS_ID,
    "eos_token_id": EOS_ID,
}
_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}


def small_model(family: str, *, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """A random model of `family` (one of FAMILIES) in fp32 and eval mode, the same for the same arguments.

    `overrides` replace fields of the configuration. All families but olmo_hybrid (without positions, as released)
    use RoPE; olmo3 has a sliding window of 200 tokens; llama and qwen3_next have two query heads to a key/value head.
    """
    config = _CONFIGS[family](**overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        _slow_decay(model)
    return model.eval()


def save_small_checkpoint(folder: Path, family: str, *, seed: int = 0, **overrides: Any) -> Path:
    """Write a small random model (safetensors) and a byte-level tokenizer to `folder`, and return it."""
    small_model(family, seed=seed, **overrides).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte, ids 0-255 in the order of the byte-level alphabet, and no BOS."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<bos>", "<eos>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )


def _slow_decay(model: PreTrainedModel) -> None:
    """Let random recurrent states remember hundreds of tokens, so that a state lost between segments is noticed."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("A_log"):
                parameter.uniform_(-6.0, -1.0)


def _olmo_hybrid(**overrides: Any) -> PreTrainedConfig:
    return OlmoHybridConfig(
        **{
            **_SHARED,
            "num_hidden_layers": 4,
            "num_key_value_heads": 4,
            "linear_key_head_dim": 12,
            "linear_value_head_dim": 24,
            # An explicit null means no positions; if the key is missing, transformers inserts a θ.
            "rope_parameters": {"rope_type": "default", "rope_theta": None},
            **overrides,
        }
    )


def _olmo3(**overrides: Any) -> PreTrainedConfig:
    return Olmo3Config(
        **{
            **_SHARED,
            "num_hidden_layers": 4,
            "num_key_value_heads": 4,
            "sliding_window": 200,
            "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {"sliding_attention": dict(_ROPE), "full_attention": dict(_ROPE)},
            **overrides,
        }
    )


def _llama(**overrides: Any) -> PreTrainedConfig:
    return LlamaConfig(
        **{**_SHARED, "num_hidden_layers": 2, "num_key_value_heads": 2, "rope_parameters": dict(_ROPE), **overrides}
    )


def _qwen3_next(**overrides: Any) -> PreTrainedConfig:
    return Qwen3NextConfig(
        **{
            **_SHARED,
            "num_hidden_layers": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
            "rope_parameters": {**_ROPE, "partial_rotary_factor": 0.25},
            **overrides,
        }
    )


_CONFIGS: dict[str, Callable[..., PreTrainedConfig]] = {
    "olmo_hybrid": _olmo_hybrid,
    "olmo3": _olmo3,
    "llama": _llama,
    "qwen3_next": _qwen3_next,
}
