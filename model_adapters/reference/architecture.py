"""The shapes of the recipe: parameters equal within 5 %, one tokenizer, one trained length."""

from typing import Any

from transformers import Olmo3Config, OlmoHybridConfig, PreTrainedConfig

KINDS = ("hybrid", "transformer")
TRAINED_TOKENS = 8192
"""Longest training sequence in tokens."""
PAD_ID = 0
EOS_ID = 1

WINDOW_TOKENS = 512
ROPE_THETA = 500_000.0
"""Olmo 3's own."""


def make_config(kind: str, vocab_size: int, *, rope_theta: float = ROPE_THETA) -> PreTrainedConfig:
    """The transformers configuration of one reference model.

    The hybrid has three Gated DeltaNet layers (negative eigenvalues on, key and value sizes in the ratio of the
    7B) and one attention layer without positions. The transformer repeats two sliding-window layers and a full
    one, as Olmo 3 repeats three and one, because six layers is what the same number of parameters buys;
    `rope_theta` is its alone.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    shared: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": TRAINED_TOKENS,
        "rms_norm_eps": 1e-6,
        "pad_token_id": PAD_ID,
        "eos_token_id": EOS_ID,
        "tie_word_embeddings": True,
    }
    if kind == "hybrid":
        return OlmoHybridConfig(
            **shared,
            num_hidden_layers=4,
            intermediate_size=512,
            linear_num_key_heads=4,
            linear_num_value_heads=4,
            linear_key_head_dim=64,
            linear_value_head_dim=128,
            linear_allow_neg_eigval=True,
            # A stated null means no positions; leaving it out would make transformers inject a θ.
            rope_parameters={"rope_type": "default", "rope_theta": None},
        )
    rope = {"rope_type": "default", "rope_theta": rope_theta}
    return Olmo3Config(
        **shared,
        num_hidden_layers=6,
        intermediate_size=400,
        sliding_window=WINDOW_TOKENS,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
        rope_parameters={"sliding_attention": dict(rope), "full_attention": dict(rope)},
    )
