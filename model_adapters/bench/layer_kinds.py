"""What each layer of a model stores, from the configuration: floors must not depend on what the engine allocates."""

from dataclasses import dataclass

from transformers import PreTrainedConfig

from evalkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class LayerKind:
    """What one layer stores: keys and values, states, both or neither."""

    attention: bool = False
    windowed: bool = False
    """Whether queries see a sliding window only."""
    states: bool = False


_KINDS = {
    "full_attention": LayerKind(attention=True),
    "sliding_attention": LayerKind(attention=True, windowed=True),
    "linear_attention": LayerKind(states=True),
    "conv": LayerKind(states=True),
    "hybrid": LayerKind(attention=True, states=True),
    "hybrid_sliding": LayerKind(attention=True, windowed=True, states=True),
    "mlp": LayerKind(),
    "moe": LayerKind(),
}


def layer_kinds(config: PreTrainedConfig) -> tuple[LayerKind, ...]:
    """The kind of every layer, from `layer_types`, or from `sliding_window` if the configuration has no types.

    Raises UsageError for other layer types.
    """
    types = getattr(config, "layer_types", None)
    if types is None:
        windowed = any(getattr(layer, "sliding_window", None) is not None for layer in config.per_layer_config)
        types = ["sliding_attention" if windowed else "full_attention"] * config.num_hidden_layers
    # transformers keeps every key of a config.json, even keys that the family's code never reads.
    has_windows = hasattr(type(config), "sliding_window")
    sharing = getattr(config, "kv_sharing_modes", None) or [None] * len(types)
    kinds = []
    for layer_type, mode in zip(types, sharing, strict=True):
        if layer_type not in _KINDS:
            raise UsageError(
                f"layers of type {layer_type!r} ({config.model_type}) are not supported; "
                f"the engine runs models made of {', '.join(_KINDS)}"
            )
        kind = LayerKind() if mode == "reuse" else _KINDS[layer_type]
        kinds.append(kind if has_windows else LayerKind(kind.attention, False, kind.states))
    return tuple(kinds)
