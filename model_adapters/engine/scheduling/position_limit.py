"""Up to which length a model reads prompts: where positions end, or depend on how long the whole prompt is."""

import re
from typing import Any, NamedTuple

from transformers import PreTrainedConfig, PreTrainedModel

from model_adapters.positions import table_end


class PositionLimit(NamedTuple):
    """The length up to which positions are there and stay what they are."""

    tokens: int
    reason: str
    """What is wrong beyond it, as the end of a sentence: "beyond which ..."."""
    reads_alone: bool = False
    """Whether prompts beyond it are read nevertheless, if they share no prefix and nothing branches off from them."""


def position_limit(model: PreTrainedModel) -> PositionLimit | None:
    """The shortest limit of the model's positions, on any device; None for schemes without one."""
    limits = _rotary_limits(model.config.get_text_config())
    if (end := table_end(model)) is not None:
        limits.append(PositionLimit(end, "the model's table of positions ends"))
    return min(limits, default=None)


def schemes_by_length(config: PreTrainedConfig) -> list[dict[str, Any]]:
    """The rotary schemes of a configuration whose frequencies change with the prompt's length."""
    stated = getattr(config, "rope_parameters", None) or {}
    schemes = [stated] if "rope_type" in stated else [value for value in stated.values() if isinstance(value, dict)]
    return [scheme for scheme in schemes if re.search(r"longrope|dynamic", scheme.get("rope_type", "default"))]


def _rotary_limits(config: PreTrainedConfig) -> list[PositionLimit]:
    """The lengths beyond which rotary frequencies change with the prompt's length.

    `dynamic` and `longrope` take other frequencies for every position once a prompt is longer than the original
    length, so keys of earlier segments, of shared prefixes and of shorter sequences in the same decode step would not
    be what they are in one pass. `longrope` has two sets of them, one of which is chosen for each prompt.
    """
    limits = []
    for scheme in schemes_by_length(config):
        original = scheme.get("original_max_position_embeddings") or config.max_position_embeddings
        two_sets = scheme["rope_type"] == "longrope" and scheme is config.rope_parameters
        parts = "a shared prefix or continuations" if two_sets else "segments"
        reason = f"{scheme['rope_type']} positions depend on the prompt's whole length and cannot be read in {parts}"
        limits.append(PositionLimit(int(original), reason, two_sets))
    return limits
