"""Options of a model: one value from the command line or a plan down to the loader."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, get_type_hints

from evalkit.errors import UsageError
from evalkit.values import SCRIPTED_PREFIX, read_value

__all__ = [
    "MODEL_OPTIONS", "REFERENCE_PREFIX", "SCRIPTED_PREFIX", "ChatMode", "Dtype", "GdnKernel", "ModelOptions",
    "read_model_options",
]  # fmt: skip

REFERENCE_PREFIX = "reference:"
"""Prefix of the names of models that come with evalkit."""


class Dtype(StrEnum):
    """Data type of weights and activations; `auto` is the checkpoint's own on a GPU, float32 on a CPU."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class GdnKernel(StrEnum):
    """Implementation of the gated delta rule; `auto` is triton on a GPU if it passes its check there, else torch."""

    AUTO = "auto"
    TRITON = "triton"
    FLA = "fla"
    TORCH = "torch"


class ChatMode(StrEnum):
    """How questions are put to a model; `evalkit.running.chat.Chat` defines the conventions."""

    OFF = "off"
    PREFILL = "prefill"
    USER = "user"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """A model's name, with the options for loading and running it."""

    model: str
    """A checkpoint directory, a hub id with or without @REVISION, reference:NAME, or scripted:FILE."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    dtype: Dtype = Dtype.AUTO
    segment_tokens: int | None = None
    """Prompt tokens per prefill chunk; None lets the engine choose."""
    batch_sequences: int | None = None
    """Sequences decoded together; None lets the engine choose."""
    trust_remote_code: bool = False
    override: str | None = None
    """Positions other than the checkpoint's own, as `PositionOverride.parse` reads them: a control experiment."""
    skip_preflight: bool = False
    gdn_kernel: GdnKernel = GdnKernel.AUTO
    server: str | None = None
    """URL of an OpenAI-compatible server that runs the model; None runs it here."""
    tokenizer: str | None = None
    """Where the tokenizer of a served model is, if not where `model` says."""
    chat: ChatMode = ChatMode.OFF


MODEL_OPTIONS: Mapping[str, str] = {
    "batch" if field.name == "batch_sequences" else field.name: field.name
    for field in fields(ModelOptions)
    if field.name != "model"
}
"""Options as users write them, with the fields that hold them."""


def read_model_options(model: str, values: Mapping[str, Any], *, where: str) -> ModelOptions:
    """The options of `model`, of which a plan names some; UsageError names the one that is wrong after `where`."""
    hints = get_type_hints(ModelOptions)
    read = {
        MODEL_OPTIONS[name]: read_value(value, hints[MODEL_OPTIONS[name]], f"{where}{name}")
        for name, value in values.items()
    }
    for name in ("batch", "segment_tokens"):
        number = read.get(MODEL_OPTIONS[name])
        if number is not None and number < 1:
            raise UsageError(f"{where}{name}: {number} is too small; write 1 or more")
    return ModelOptions(model, **read)
