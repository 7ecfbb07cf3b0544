"""What each layer of a model remembers, read from its configuration."""

from typing import Literal

from transformers import PreTrainedConfig

from evalkit.errors import UsageError

LayerKind = Literal["attention", "sliding", "linear"]

_KINDS: dict[str, LayerKind] = {
    "full_attention": "attention",
    "sliding_attention": "sliding",
    "linear_attention": "linear",
    "conv": "linear",
}


def layer_kinds(config: PreTrainedConfig) -> tuple[LayerKind, ...]:
    """The kind of every layer, from `layer_types`, or from `sliding_window` where a model states no types.

    Raises UsageError for a layer type whose memory the engine does not know.
    """
    types = getattr(config, "layer_types", None)
    if types is None:
        windowed = getattr(config, "sliding_window", None) is not None
        types = ["sliding_attention" if windowed else "full_attention"] * config.num_hidden_layers
    for layer_type in types:
        if layer_type not in _KINDS:
            raise UsageError(
                f"layers of type {layer_type!r} ({config.model_type}) are not supported; "
                f"the engine runs models made of {', '.join(_KINDS)}"
            )
    return tuple(_KINDS[layer_type] for layer_type in types)
