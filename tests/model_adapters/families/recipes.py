"""Small configurations of every causal family of the installed transformers.

config = small_config("mamba2")             # a key of CAUSAL_FAMILIES
model = build("mamba2")                     # random weights, fp32, evaluation mode
"""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

CAUSAL_FAMILIES: tuple[str, ...] = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
VOCAB_SIZE, PAD_ID, BOS_ID, EOS_ID = 288, 285, 286, 287
MOST_PARAMETERS = 4_000_000
"""A recipe with more misses some size of its family."""

_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_000.0}
_TOKENS: dict[str, Any] = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": None}
# Each family takes those of these values that its configuration class has; exceptions are in _RECIPES.
_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    # Wide enough for logits of about one: with transformers' 0.02 they would agree only because they are small.
    "initializer_range": 0.15,
    "num_local_experts": 4,
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "sliding_window": 40,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "vocab_size_per_layer_input": VOCAB_SIZE,
    "hidden_size_per_layer_input": 16,
    "d_model": 64,
    "d_ff": 96,
    "n_embd": 64,
    "n_layer": 4,
    "n_head": 4,
    "n_inner": 96,
    "n_positions": 512,
    "n_layers": 4,
    "n_heads": 4,
    "num_layers": 4,
    "num_heads": 4,
    "decoder_layers": 4,
    "encoder_layers": 4,
    "decoder_attention_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_ffn_dim": 96,
    "encoder_ffn_dim": 96,
    "ffn_dim": 96,
    # Families that are encoders by default.
    "is_decoder": True,
    "image_size": 28,
    "patch_size": 14,
}
_BOTH: dict[str, Any] = {"layer_types": ["sliding_attention", "full_attention"] * 2}
_MLA: dict[str, Any] = {"num_key_value_heads": 4, "head_dim": ...}
_MAMBA: dict[str, Any] = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
}
_INDEX: dict[str, Any] = {"index_n_heads": 2, "index_head_dim": 16, "index_topk": 16}
_SHARED_KEYS: dict[str, Any] = {**_BOTH, "num_kv_shared_layers": 2}
_GEMMA_3N: dict[str, Any] = {
    **_SHARED_KEYS,
    "laurel_rank": 8,
    "altup_num_inputs": 2,
    "intermediate_size": [96] * 4,
    "activation_sparsity_pattern": [0.0] * 4,
}
_GEMMA_4: dict[str, Any] = {**_SHARED_KEYS, "global_head_dim": 32}
_ASSISTANT: dict[str, Any] = {
    "model_type": "gemma4_text",
    **_BOTH,
    "num_kv_shared_layers": 4,
    "hidden_size_per_layer_input": 0,
    "vocab_size_per_layer_input": 0,
}
_DOTS_3: dict[str, Any] = {
    **_TOKENS,
    **_INDEX,
    "num_key_value_heads": 4,
    "shared_experts_intermediate_size": 32,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 4,
    "swa_q_lora_rank": 24,
    "swa_kv_lora_rank": 16,
    "swa_head_dim": 24,
    "swa_qk_nope_head_dim": 16,
    "swa_v_head_dim": 16,
}
_DOTS_3_VISION: dict[str, Any] = {
    "mlp_layer_types": ["dense"] * 4,
    "adapter_in_dim": 64,
    "adapter_out_dim": 64,
}
_MLLAMA_VISION: dict[str, Any] = {
    "num_global_layers": 1,
    "vision_output_dim": 128,
    "intermediate_layers_indices": [0],
    "attention_heads": 4,
}
_QWEN_VISION: dict[str, Any] = {"depth": 1, "out_hidden_size": 64, "num_position_embeddings": 16}
_QWEN_4: dict[str, Any] = {
    "eos_token_id": EOS_ID,
    "hc_count": 2,
    "hc_lowrank": 8,
    "ple_layer_ids": [2],
    "ple_embed_dim": 16,
    "ngram_vocab_size_base": 64,
    "split_ngram_parts": 1,
    "make_ngram_vocab_size_divisible_by": 8,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 32,
    "indexer_compress_ratio": 4,
}
# `...` removes a value of _COMMON.
_RECIPES: dict[str, dict[str, Any]] = {
    "axk1": _MLA,
    "axk2": _MLA,
    "bailing_hybrid": {
        **_MLA,
        "head_dim": 16,
        "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    },
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "blt": {
        "encoder_hash_byte_group_vocab": 64,
        "global_config": {},
        "encoder_config": {"hidden_size_global": 64},
        "decoder_config": {"hidden_size_global": 64},
    },
    "codegen": {"rotary_dim": 8},
    "cohere_compass_text": {"rope_parameters": {"sliding_attention": _ROPE, "full_attention": _ROPE}},
    "cpmant": {"dim_ff": 96, "dim_head": 16},
    "ctrl": {"dff": 96},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10_000.0, "clip_qkv": 8},
        "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": _MLA,
    "deepseek_v3": _MLA,
    "deepseek_v32": {**_MLA, **_INDEX},
    "deepseek_v4": {**_INDEX, "num_key_value_heads": 1, "o_groups": 2, "o_lora_rank": 16},
    "dots1": {"n_shared_experts": 1, "max_window_layers": 2},
    "dots3_note": {
        "text_config": _DOTS_3,
        "vision_config": _DOTS_3_VISION,
        "audio_config": {"adapter_out_dim": 64, "adapter_input_size": 64},
    },
    "dots3_note_text": _DOTS_3,
    "emu3": {
        "text_config": _TOKENS,
        "vq_config": {"codebook_size": 16, "base_channels": 32, "channel_multiplier": [1], "num_res_blocks": 1},
    },
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_num_shared_experts": 1, "moe_k": 2},
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 128},
    "fuyu": {"text_config": {"model_type": "persimmon"}},
    "gemma3": {"text_config": _BOTH, "vision_config": {"model_type": "siglip_vision_model"}, "mm_tokens_per_image": 4},
    "gemma3_text": _BOTH,
    "gemma3n": {"text_config": _GEMMA_3N},
    "gemma3n_text": _GEMMA_3N,
    "gemma4": {"text_config": _GEMMA_4},
    "gemma4_assistant": {"text_config": _ASSISTANT, "backbone_hidden_size": 64},
    "gemma4_text": _GEMMA_4,
    "gemma4_unified": {
        "text_config": _GEMMA_4,
        "vision_config": {"mm_embed_dim": 64, "output_proj_dims": 64},
    },
    "gemma4_unified_assistant": {
        "text_config": {**_ASSISTANT, "model_type": "gemma4_unified_text"},
        "backbone_hidden_size": 64,
    },
    "gemma4_unified_text": _GEMMA_4,
    "glm4_moe_lite": _MLA,
    "glm_moe_dsa": {**_MLA, **_INDEX},
    "got_ocr2": {
        "text_config": {"model_type": "qwen2"},
        "vision_config": {"mlp_dim": 96, "output_channels": 16, "window_size": 2, "global_attn_indexes": [3]},
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 40},
    "gptj": {"rotary_dim": 8},
    "granitemoehybrid": {
        **_MAMBA,
        "layer_types": ["mamba", "attention", "mamba", "mamba"],
        "shared_intermediate_size": 48,
    },
    "hrm_text": {"num_hidden_layers": ..., "num_layers_per_stack": 1, "H_cycles": 2, "L_cycles": 2},
    "inkling2_text": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 16,
        "unpadded_vocab_size": VOCAB_SIZE,
        "layer_types": ["hybrid_sliding", "hybrid"] * 2,
        "sliding_window_size": 40,
        "n_layers_per_attn_res_block": 2,
    },
    "inkling_text": {
        "layer_types": ["hybrid_sliding", "hybrid"] * 2,
        "sliding_window_size": 40,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 16,
    },
    "jamba": {"attn_layer_period": 4, "attn_layer_offset": 1, "mamba_dt_rank": 4, "mamba_d_state": 8},
    "jetmoe": {"num_key_value_heads": 4, "kv_channels": 16},
    "kimi_linear": {
        **_MLA,
        "q_lora_rank": ...,
        "layer_types": ["linear_attention", "full_attention", "linear_attention", "linear_attention"],
        "linear_head_dim": 16,
        "linear_num_heads": 4,
    },
    "kolibri1": _BOTH,
    "laguna": _BOTH,
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "num_dense_layers": 2},
    # Attention whose temperature changes within these prompts.
    "llama4_text": {"attention_chunk_size": 40, "intermediate_size_mlp": 96, "floor_scale": 8, "attn_scale": 0.5},
    "longcat_flash": {
        **_MLA,
        "head_dim": 8,
        "ffn_hidden_size": 96,
        "expert_ffn_hidden_size": 32,
        "zero_expert_num": 2,
        "moe_topk": 2,
    },
    "mamba2": {"num_heads": 8, "head_dim": 16, "state_size": 16, "n_groups": 1},
    "mellum": _BOTH,
    "minicpm3": _MLA,
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse"] * 2,
        **_INDEX,
        "index_block_size": 16,
        "index_topk_blocks": 2,
        "dense_intermediate_size": 96,
        "shared_intermediate_size": 32,
        "rotary_dim": 8,
    },
    "mllama": {"text_config": {**_TOKENS, "cross_attention_layers": [1]}, "vision_config": _MLLAMA_VISION},
    "moshi": {"audio_vocab_size": 32, "audio_encoder_config": {"model_type": "mimi"}},
    "moss_transcribe_diarize": {"text_config": {"model_type": "qwen3"}, "audio_config": {}},
    "nemotron_h": {
        "num_hidden_layers": ...,
        "layers_block_type": ["mamba", "moe", "attention", "mlp", "mamba"],
        "mamba_num_heads": 8,
        "mamba_head_dim": 16,
        "ssm_state_size": 16,
        "n_groups": 1,
        "moe_shared_expert_intermediate_size": 32,
    },
    "phi4_multimodal": {
        "audio_config": {
            "num_blocks": 1,
            "ext_pw_out_channel": 64,
            "depthwise_separable_out_channel": 64,
            "nemo_conv_channels": 16,
        },
        "vision_config": {"crop_size": 28},
    },
    "qwen2": {**_BOTH, "use_sliding_window": True},
    "qwen2_moe": {**_BOTH, "use_sliding_window": True},
    "qwen3": {**_BOTH, "use_sliding_window": True},
    "qwen3_5": {"text_config": {}, "vision_config": _QWEN_VISION},
    "qwen3_5_moe": {"text_config": {}, "vision_config": _QWEN_VISION},
    "qwen4_exp": {"text_config": _QWEN_4, "vision_config": _QWEN_VISION},
    "qwen4_exp_text": _QWEN_4,
    "reformer": {"axial_pos_embds_dim": [32, 32], "axial_pos_shape": [16, 32]},
    "roc_bert": {"pronunciation_embed_dim": 16, "shape_embed_dim": 16, "shape_vocab_size": 288},
    "smollm3": {**_BOTH, "use_sliding_window": True},
    "xlm": {"emb_dim": 64},
    "xlnet": {"d_inner": 96},
    "xlstm": {"chunk_size": 16, "v_dim_factor": 1.0},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "youtu": _MLA,
    "zamba": {
        "mamba_dt_rank": 4,
        "attention_head_dim": 32,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "num_key_value_heads": 4,
    },
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "num_key_value_heads": 4,
        "mamba_d_state": 16,
        "adapter_rank": 8,
    },
    "zaya": {
        "num_experts_per_tok": 1,
        "layer_types": ["hybrid", "hybrid_sliding", "hybrid", "hybrid_sliding"],
        "router_hidden_size": 16,
    },
}


def small_config(family: str, **overrides: Any) -> PreTrainedConfig:
    """A small configuration of a family, with layers of every type if it has several types."""
    kind = CONFIG_MAPPING[family]
    return kind(**{**_TOKENS, **_values(kind, _RECIPES.get(family, {})), **overrides})


def build(family: str, **overrides: Any) -> PreTrainedModel:
    """A random model of a family in fp32 and evaluation mode, the same each time.

    `overrides` replace fields of the configuration. Raises ValueError for a recipe without one of its family's sizes,
    and any error of the family's code.
    """
    parameters = sum(one.numel() for one in build_skeleton(family).parameters())
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"{parameters:,} parameters are more than {MOST_PARAMETERS:,}: give its recipe small sizes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = small_config(family, **overrides)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
        _enliven(model)
    return model.eval()


def build_skeleton(family: str) -> PreTrainedModel:
    """The same model on the meta device, without weights."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(small_config(family), attn_implementation="eager")  # type: ignore[no-untyped-call]
    return model


def _values(kind: type[PreTrainedConfig], own: dict[str, Any]) -> dict[str, Any]:
    """The values of a configuration class, including its nested configurations."""
    names = set(inspect.signature(kind.__init__).parameters)
    for base in kind.__mro__:
        names |= set(getattr(base, "__annotations__", {}))
    values = {name: value for name, value in _COMMON.items() if name in names}
    for name, inner in kind.sub_configs.items():
        stated = own.get(name, {})
        model_type = stated.get("model_type") if isinstance(stated, dict) else None
        inner_kind = CONFIG_MAPPING[model_type] if model_type else inner
        if name in names and inspect.isclass(inner_kind) and issubclass(inner_kind, PreTrainedConfig):
            values[name] = {**_values(inner_kind, stated), **({"model_type": model_type} if model_type else {})}
    values.update({name: value for name, value in own.items() if name not in kind.sub_configs})
    return {name: value for name, value in values.items() if value is not ...}


def _enliven(model: nn.Module) -> None:
    """Make weights initialized to zeros or ones matter, and random states remember hundreds of tokens."""
    for name, parameter in model.named_parameters():
        if name.endswith("A_log"):
            parameter.data.uniform_(-6.0, -1.0)
        elif parameter.ndim == 1 or not parameter.data.any():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
