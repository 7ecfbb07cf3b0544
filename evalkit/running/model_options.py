"""Options of a model: one value from the command line or a plan down to the loader."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, get_type_hints

from evalkit.errors import UsageError
from evalkit.values import SCRIPTED_PREFIX, TokenBudget, read_value

__all__ = [
    "LARGER_THAN_A_GPU", "MODEL_OPTIONS", "RAW", "REFERENCE_PREFIX", "SCRIPTED_PREFIX", "ChatMode", "ChatOptions",
    "Dtype", "GdnKernel", "ModelOptions", "read_model_options",
]  # fmt: skip

LARGER_THAN_A_GPU = (
    "for a model larger than a GPU, start a server that spreads it, such as vllm serve --tensor-parallel-size 2, and "
    "use --server"
)
"""What to do with a model that needs several GPUs."""
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
class ChatOptions:
    """A convention of chat, and what a model may think in it."""

    mode: ChatMode = ChatMode.OFF
    thinking: int = 0
    """Maximum number of tokens of thought; 0 switches thinking off."""
    tags: tuple[str, str] | None = None
    """Opening and closing tag of thoughts; None finds them in the chat template."""

    def check(self) -> None:
        """Raise UsageError for options that do not go together."""
        if self.mode is not ChatMode.OFF:
            return
        if self.thinking:
            raise UsageError(f"--thinking {self.thinking}: raw text has no thoughts; add --chat user, or leave it out")
        if self.tags is not None:
            raise UsageError("--think-tags: raw text has no thoughts; add --chat user, or leave it out")


RAW = ChatOptions()
"""Raw text."""


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
    batch_invariant: bool = False
    """Whether answers must not depend on the other prompts of a run, whatever that costs in speed."""
    server: str | None = None
    """URL of an OpenAI-compatible server that runs the model; None runs it here."""
    tokenizer: str | None = None
    """Where the tokenizer of a served model is, if not where `model` says."""
    chat: ChatMode = ChatMode.OFF
    thinking: TokenBudget = TokenBudget(0)  # noqa: RUF009  # immutable
    """Maximum number of tokens of thought; 0 switches thinking off."""
    think_tags: tuple[str, str] | None = None
    """Opening and closing tag of thoughts; None finds them in the chat template."""

    @property
    def chat_options(self) -> ChatOptions:
        return ChatOptions(self.chat, self.thinking, self.think_tags)

    def of_other(self, model: str) -> "ModelOptions":
        """The same options for a model that this one is compared with, on its own positions."""
        return replace(self, model=model, override=None)


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
    tags = read.get("think_tags")
    if tags is not None and len(tags) != 2:
        raise UsageError(f"{where}think_tags: {', '.join(tags)} is not an opening and a closing tag")
    return ModelOptions(model, **read)
