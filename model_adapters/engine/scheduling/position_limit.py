"""The longest prompt a model can read: where its positions end, or begin to depend on the whole prompt's length."""

import re
from typing import Any, NamedTuple

from transformers import PreTrainedConfig, PreTrainedModel

from model_adapters.positions import table_end


class PositionLimit(NamedTuple):
    """The length up to which positions exist and do not depend on the prompt's length."""

    tokens: int
    reason: str
    """Why longer prompts fail, as the end of a sentence: "beyond which ..."."""
    reads_alone: bool = False
    """Whether longer prompts can still be read if they share no prefix and have no continuations."""


def position_limit(model: PreTrainedModel) -> PositionLimit | None:
    """The lowest of the limits of the model's positions, whatever the device; None if there is no limit."""
    limits = _rotary_limits(model.config.get_text_config())
    if (end := table_end(model)) is not None:
        limits.append(PositionLimit(end, "the model's position table ends"))
    return min(limits, default=None)


def schemes_by_length(config: PreTrainedConfig) -> list[dict[str, Any]]:
    """The rotary schemes of a configuration whose frequencies depend on the prompt's length."""
    stated = getattr(config, "rope_parameters", None) or {}
    schemes = [stated] if "rope_type" in stated else [value for value in stated.values() if isinstance(value, dict)]
    return [scheme for scheme in schemes if re.search(r"longrope|dynamic", scheme.get("rope_type", "default"))]


def _rotary_limits(config: PreTrainedConfig) -> list[PositionLimit]:
    """The lengths beyond which rotary frequencies change with the prompt's length.

    `dynamic` and `longrope` use other frequencies for all positions once a prompt exceeds the original length, so the
    keys of earlier segments, of shared prefixes and of shorter sequences in the same decode step would differ from
    those of a single pass. `longrope` has two sets of frequencies and selects one per prompt.
    """
    limits = []
    for scheme in schemes_by_length(config):
        original = scheme.get("original_max_position_embeddings") or config.max_position_embeddings
        two_sets = scheme["rope_type"] == "longrope" and scheme is config.rope_parameters
        parts = "a shared prefix or continuations" if two_sets else "segments"
        reason = f"{scheme['rope_type']} positions depend on the prompt's whole length and cannot be read in {parts}"
        limits.append(PositionLimit(int(original), reason, two_sets))
    return limits
