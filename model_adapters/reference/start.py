"""Starting points of a training phase: fresh weights, or those of a finished checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from evalkit.errors import UsageError
from evalkit.running.model_options import Dtype, ModelOptions
from model_adapters.checkpoint import SIDECAR, Checkpoint, open_checkpoint
from model_adapters.loading import load_model
from model_adapters.reference import folder
from model_adapters.reference.architecture import make_config
from model_adapters.reference.curriculum import CONTINUED, FIRST, Phase
from model_adapters.reference.tokenizer import VOCABULARY

_SHAPE = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")
"""Fields of config.json in which a model of the recipe has one value."""


@dataclass(frozen=True, slots=True)
class Start:
    """Weights in fp32, the folder of their tokenizer, and what is known of them."""

    model: PreTrainedModel
    tokenizer_folder: Path
    phase: Phase
    tokens_seen: int = 0
    note: str = ""
    """Contents of the checkpoint's evalkit.json apart from its tokens, kept for the next checkpoint."""


def fresh(kind: str, *, rope_theta: float, seed: int) -> Start:
    """Weights drawn from `seed`, with the pair's own tokenizer."""
    torch.manual_seed(seed)
    config = make_config(kind, VOCABULARY, rope_theta=rope_theta)
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return Start(cast(PreTrainedModel, model), folder("hybrid"), FIRST)


def continued(kind: str, path: Path) -> Start:
    """The weights of the finished checkpoint in the folder `path`, cast to fp32.

    Raises UsageError, one line, if there is no such folder, if it has no model of this kind and shape, and
    if its evalkit.json does not say how many tokens it has seen.
    """
    if not path.is_dir():
        raise UsageError(f"--continue-from {path}: no such folder; name the one that a finished training wrote")
    checkpoint = open_checkpoint(str(path), trust_remote_code=False)
    _check_shape(checkpoint, kind)
    if not checkpoint.sidecar.tokens_seen:
        raise UsageError(
            f"--continue-from {path}: its {SIDECAR} does not say how many tokens it has seen; "
            "state them there as tokens_seen"
        )
    model = load_model(ModelOptions(str(path), device="cpu", dtype=Dtype.FLOAT32)).model
    model.requires_grad_(True)
    sidecar = checkpoint.sidecar
    return Start(model, path, CONTINUED, checkpoint.sidecar.tokens_seen, sidecar.note)


def _check_shape(checkpoint: Checkpoint, kind: str) -> None:
    expected = make_config(kind, VOCABULARY)
    if checkpoint.family != expected.model_type:
        raise UsageError(
            f"--continue-from {checkpoint.name}: holds a model of type {checkpoint.family}, and --kind {kind} is "
            f"{expected.model_type}; name the other kind or another folder"
        )
    for field in _SHAPE:
        found, wanted = checkpoint.config.get(field), getattr(expected, field)
        if found != wanted:
            raise UsageError(
                f"--continue-from {checkpoint.name}: has {field} = {found}, and the recipe's models have {wanted}; "
                "name a folder that the recipe wrote"
            )
