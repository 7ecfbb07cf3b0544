"""Small random models of families beyond those of `small_models`: Qwen 3.5, Kimi Linear, Mamba-2 and its hybrids."""

from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.model_adapters.small_models import BOS_ID, EOS_ID, PAD_ID, VOCAB_SIZE

_SHARED: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "initializer_range": 0.15,
    "pad_token_id": PAD_ID,
    "bos_token_id": BOS_ID,
    "eos_token_id": EOS_ID,
}
_ATTENTION: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
_MAMBA: dict[str, Any] = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
}
_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3_5": (
        "Qwen3_5TextConfig",
        {
            **_ATTENTION,
            "num_hidden_layers": 4,
            "head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
        },
    ),
    "kimi_linear": (
        "KimiLinearConfig",
        {
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "num_hidden_layers": 5,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
            "linear_head_dim": 16,
            "linear_num_heads": 4,
        },
    ),
    "mamba2": (
        "Mamba2Config",
        {"num_hidden_layers": 3, "num_heads": 8, "head_dim": 16, "expand": 2, "state_size": 16, "n_groups": 1},
    ),
    "bamba": ("BambaConfig", {**_ATTENTION, **_MAMBA, "num_hidden_layers": 4, "attn_layer_indices": [3]}),
    "granitemoehybrid": (
        "GraniteMoeHybridConfig",
        {
            **_ATTENTION,
            **_MAMBA,
            "num_hidden_layers": 4,
            "layer_types": ["mamba", "mamba", "mamba", "attention"],
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 48,
        },
    ),
}
OTHER_FAMILIES = tuple(_FAMILIES)


def other_model(family: str) -> PreTrainedModel:
    """A random model of `family` in fp32 and evaluation mode, the same each time."""
    config_name, sizes = _FAMILIES[family]
    config = getattr(transformers, config_name)(**{**_SHARED, **sizes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval()
