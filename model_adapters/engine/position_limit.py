"""Up to which length a prompt may be read in segments: some positions depend on how long the whole prompt is."""

from typing import NamedTuple

from transformers import PreTrainedConfig


class PositionLimit(NamedTuple):
    """Positions that stay what they are up to some length only."""

    tokens: int
    rope_type: str


def position_limit(config: PreTrainedConfig) -> PositionLimit | None:
    """The least length beyond which the model's rotary frequencies change with the prompt's; None for other schemes.

    `dynamic` and `longrope` take other frequencies for every position once a prompt is longer than the original
    length, so keys of earlier segments, and of shorter sequences in the same decode step, would not be what they are
    in one pass.
    """
    stated = getattr(config, "rope_parameters", None) or {}
    schemes = [stated] if "rope_type" in stated else [value for value in stated.values() if isinstance(value, dict)]
    limits = []
    for scheme in schemes:
        rope_type = scheme.get("rope_type", "default")
        if rope_type == "longrope" or "dynamic" in rope_type:
            original = scheme.get("original_max_position_embeddings") or config.max_position_embeddings
            limits.append(PositionLimit(int(original), rope_type))
    return min(limits, default=None)
