"""transformers' own classes for its own model types, whatever other packages have registered.

FLA, once imported, registers classes of its own for bitnet, mamba and mamba2, and transformers imports it with every
family that FLA has kernels for: loading such a model would change what a Mamba-2 checkpoint is loaded as afterwards.
"""

from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]

OWN_FAMILIES = CONFIG_MAPPING_NAMES
"""The model types that transformers itself defines."""


def restore_own_classes() -> None:
    """Drop what other packages have registered for transformers' own model types and configurations.

    What they have registered for model types of their own stays.
    """
    for registry in (CONFIG_MAPPING, MODEL_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING):
        added = registry._extra_content  # there is no public way to take a registration back
        for key in [key for key in added if _is_own(key)]:
            del added[key]


def _is_own(key: object) -> bool:
    if isinstance(key, str):
        return key in OWN_FAMILIES
    return getattr(key, "__module__", "").startswith("transformers.")
