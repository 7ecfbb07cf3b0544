"""Small random models of families beyond those of `small_models`.

OTHER_FAMILIES: Qwen 3.5, Kimi Linear, Mamba-2 and its hybrids. UNUSUAL_FAMILIES each do something that a cache or an
attention function could get wrong. REFUSED_FAMILIES compute what the engine does not.
"""

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
_EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
_WINDOWS: dict[str, Any] = {"sliding_window": 40, "head_dim": 16, "num_hidden_layers": 4}
_UNUSUAL: dict[str, tuple[str, dict[str, Any]]] = {
    # They change what the cache returned: repeated heads, halves of heads, latent vectors.
    "jetmoe": ("JetMoeConfig", {"num_hidden_layers": 2, "kv_channels": 16, "num_key_value_heads": 4, **_EXPERTS}),
    "diffllama": ("DiffLlamaConfig", {**_ATTENTION, "num_hidden_layers": 2}),
    "deepseek_v3": (
        "DeepseekV3Config",
        {
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "num_hidden_layers": 2,
            "q_lora_rank": 24,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 32,
            "first_k_dense_replace": 1,
        },
    ),
    # Their decoder layers do not hand keyword arguments on.
    "nemotron": ("NemotronConfig", {**_ATTENTION, "num_hidden_layers": 2}),
    "stablelm": ("StableLmConfig", {**_ATTENTION, "num_hidden_layers": 2}),
    # Their layers run several times, or stand elsewhere than usual.
    "hrm_text": (
        "HrmTextConfig",
        {"num_attention_heads": 4, "num_layers_per_stack": 1, "H_cycles": 2, "L_cycles": 2, "head_dim": 16},
    ),
    "bert": ("BertConfig", {"num_attention_heads": 4, "num_hidden_layers": 2, "is_decoder": True}),
    "modernbert": (
        "ModernBertDecoderConfig",
        {"num_attention_heads": 4, "num_hidden_layers": 4, "local_attention": 40, "global_attn_every_n_layers": 3},
    ),
    # Layers share keys, or have heads of different sizes.
    "gemma3n": (
        "Gemma3nTextConfig",
        {
            **_ATTENTION,
            **_WINDOWS,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": VOCAB_SIZE,
            "hidden_size_per_layer_input": 16,
            "laurel_rank": 8,
            "altup_num_inputs": 2,
            "intermediate_size": [96] * 4,
            "activation_sparsity_pattern": [0.0] * 4,
        },
    ),
    "gemma4": (
        "Gemma4TextConfig",
        {
            **_ATTENTION,
            **_WINDOWS,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "global_head_dim": 32,
            "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": VOCAB_SIZE,
            "hidden_size_per_layer_input": 16,
        },
    ),
    # Layers have keys and a state, or neither.
    "falcon_h1": (
        "FalconH1Config",
        {
            **_ATTENTION,
            "num_hidden_layers": 2,
            "head_dim": 16,
            "mamba_d_ssm": 128,
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_d_state": 16,
            "mamba_n_groups": 1,
        },
    ),
    "nemotron_h": (
        "NemotronHConfig",
        {
            **_ATTENTION,
            "layer_types": ["mamba", "mlp", "attention", "mlp"],
            "head_dim": 16,
            "mamba_num_heads": 8,
            "mamba_head_dim": 16,
            "ssm_state_size": 16,
            "n_groups": 1,
            "time_step_min": 1e-9,
        },
    ),
}
_REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma2": ("Gemma2Config", {**_ATTENTION, "num_hidden_layers": 2, "head_dim": 16}),
    "gpt_oss": ("GptOssConfig", {**_ATTENTION, **_EXPERTS, "num_hidden_layers": 2, "head_dim": 16}),
    "llama4": ("Llama4TextConfig", {**_ATTENTION, **_EXPERTS, "num_hidden_layers": 2, "attention_chunk_size": 64}),
    "doge": ("DogeConfig", {**_ATTENTION, "num_hidden_layers": 2}),
    "minimax": ("MiniMaxConfig", {**_ATTENTION, **_EXPERTS, "num_hidden_layers": 2, "head_dim": 16}),
    "xlstm": ("xLSTMConfig", {"num_hidden_layers": 2, "num_heads": 4}),
    "bloom": ("BloomConfig", {"n_head": 4, "n_layer": 2}),
}
OTHER_FAMILIES, UNUSUAL_FAMILIES, REFUSED_FAMILIES = tuple(_FAMILIES), tuple(_UNUSUAL), tuple(_REFUSED)


def other_model(family: str) -> PreTrainedModel:
    """A random model of `family` in fp32 and evaluation mode, the same each time."""
    config_name, sizes = {**_FAMILIES, **_UNUSUAL, **_REFUSED}[family]
    config = getattr(transformers, config_name)(**{**_SHARED, **sizes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval()
