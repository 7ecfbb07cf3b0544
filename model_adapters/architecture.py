"""The architecture in config.json: its configuration completed by the family, and the model without weights."""

import copy
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from model_adapters.checkpoint import CONFIG, Checkpoint
from model_adapters.messages import quiet_transformers, reason
from model_adapters.modeling_code import import_modeling_code
from model_adapters.no_numbers import NoNumbers
from model_adapters.own_classes import OWN_FAMILIES, restore_own_classes
from model_adapters.positions import states_null_theta

ATTENTION = "eager"
"""The attention with which models are built, in place of that in config.json; the engine sets its own."""


def read_config(checkpoint: Checkpoint, trust_remote_code: bool) -> PreTrainedConfig:
    """A checkpoint's configuration, completed by its family; raises UsageError if it is not a causal language model.

    For a model type of transformers, its class is transformers' own.
    """
    name, family = checkpoint.name, checkpoint.family
    code = checkpoint.config.get("auto_map")
    remote = isinstance(code, dict) and "AutoConfig" in code
    if family not in OWN_FAMILIES and remote and not trust_remote_code:
        raise UsageError(
            f"{name}: architecture {family!r} comes with its own Python code; read it, then pass --trust-remote-code"
        )
    if family not in OWN_FAMILIES and not remote:
        hint = did_you_mean(family, OWN_FAMILIES, "install a newer transformers")
        raise UsageError(f"{name}: architecture {family!r} is unknown to transformers {transformers.__version__}{hint}")
    restore_own_classes()
    try:
        with quiet_transformers():
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except Exception as error:
        raise UsageError(f"{name}: {CONFIG} is refused by transformers ({reason(error)}); repair it") from error
    _check_causal(checkpoint, code)
    # The engine reads outputs by name, and needs neither attention weights nor the output of every layer.
    config.return_dict, config.output_attentions, config.output_hidden_states = True, False, False
    return config


def skeleton(checkpoint: Checkpoint, config: PreTrainedConfig, trust_remote_code: bool) -> PreTrainedModel:
    """The model on the meta device: all modules and shapes, without numbers.

    Raises UsageError if transformers cannot build what config.json describes.
    """
    try:
        import_modeling_code(config)
        with quiet_transformers(), torch.device("meta"), NoNumbers():
            model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                copy.deepcopy(config), attn_implementation=ATTENTION, trust_remote_code=trust_remote_code
            )
            return model
    except Exception as error:  # each architecture, and code of a checkpoint, fails in its own way
        raise UsageError(f"{checkpoint.name}: {_not_buildable(checkpoint, config, error)}") from error


def _not_buildable(checkpoint: Checkpoint, config: PreTrainedConfig, error: Exception) -> str:
    if states_null_theta(checkpoint.config):
        return (
            f"{CONFIG} says rope_theta null (no positions), which transformers cannot build for {checkpoint.family}; "
            "state the θ it was trained with"
        )
    if (unknown := _unknown_rope_type(config)) is not None:
        return (
            f"{CONFIG} has rope_type {unknown!r}, which transformers {transformers.__version__} does not know for "
            f"{checkpoint.family} (it knows default, {', '.join(ROPE_INIT_FUNCTIONS)}); "
            "state a scaling that it knows, or install a transformers that has this one"
        )
    return f"transformers cannot build what {CONFIG} describes ({reason(error)}); repair it"


def _unknown_rope_type(config: PreTrainedConfig) -> Any:
    """The first rope_type of the configuration that transformers has no formula for; None if it knows all."""
    stated = getattr(config.get_text_config(), "rope_parameters", None)
    if not isinstance(stated, dict):
        return None
    schemes = [stated] if "rope_type" in stated else [value for value in stated.values() if isinstance(value, dict)]
    types = (scheme.get("rope_type", "default") for scheme in schemes)
    # In a list, because a name may be anything that JSON has.
    return next((name for name in types if name not in ["default", *ROPE_INIT_FUNCTIONS]), None)


def _check_causal(checkpoint: Checkpoint, code: Any) -> None:
    """Raise UsageError for anything but a causal language model, by its family and the class that was saved."""
    if isinstance(code, dict) and "AutoModelForCausalLM" in code:
        return
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(checkpoint.family)
    if known is None:
        raise UsageError(
            f"{checkpoint.name}: {checkpoint.family!r} is not a causal language model; name one that continues text"
        )
    expected = {known} if isinstance(known, str) else set(known)
    # A multimodal model whose text model is a causal class is loaded without the rest.
    wrapper = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(checkpoint.family)
    saved = checkpoint.config.get("architectures") or []
    causal = [
        name
        for name in saved
        if name in [*expected, wrapper] or str(name).lower().endswith(("forcausallm", "lmheadmodel"))
    ]
    if saved and not causal:
        raise UsageError(
            f"{checkpoint.name}: its weights are a {saved[0]}, not a causal language model "
            f"({' or '.join(sorted(expected))}); name one that continues text"
        )
