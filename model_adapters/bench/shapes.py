"""Models of published shapes with random weights, made on the device to measure their cost without a checkpoint."""

from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, Olmo3Config, OlmoHybridConfig, PreTrainedConfig, PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.loading import find_device, find_dtype
from model_adapters.modeling_code import import_modeling_code


def _olmo_hybrid_7b() -> PreTrainedConfig:
    """32 layers, of which 24 Gated DeltaNet with keys of 96 and values of 192; no positions, as released."""
    return OlmoHybridConfig(
        vocab_size=100_352,
        hidden_size=3840,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=30,
        num_key_value_heads=30,
        linear_key_head_dim=96,
        linear_value_head_dim=192,
        rope_parameters={"rope_type": "default", "rope_theta": None},
        max_position_embeddings=65_536,
    )


def _olmo3_7b() -> PreTrainedConfig:
    """32 layers, of which 24 with a sliding window of 4,096."""
    return Olmo3Config(
        vocab_size=100_278,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        sliding_window=4096,
        max_position_embeddings=65_536,
        pad_token_id=100_277,
        eos_token_id=100_257,
    )


SHAPES: dict[str, Callable[[], PreTrainedConfig]] = {"olmo-hybrid-7b": _olmo_hybrid_7b, "olmo3-7b": _olmo3_7b}


def build_shape(name: str, *, device: str, dtype: str, seed: int) -> PreTrainedModel:
    """A random model of a shape in SHAPES, the same for the same arguments, with nothing held on the host.

    `device` and `dtype` as for `load_model`; `auto` is bfloat16 on a GPU. Raises UsageError for other names and where
    the device has too little memory.
    """
    if name not in SHAPES:
        raise UsageError(f"--shape {name!r} is unknown; write one of {', '.join(SHAPES)}")
    config = SHAPES[name]()
    import_modeling_code(config)
    place, number = find_device(device), find_dtype(dtype, find_device(device))
    number = torch.bfloat16 if isinstance(number, str) else number
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []), torch.device(place):
        torch.manual_seed(seed)
        try:
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=number)  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError as error:
            raise UsageError(f"--shape {name} does not fit into the memory of {place}; use a larger device") from error
    model.requires_grad_(False)
    model.train(False)
    return model
