"""transformers' modeling code of the gated delta rule, without FLA until it is asked for.

transformers imports FLA, if it is installed, with a family that uses its rule. That takes seconds, and this engine has
kernels of its own, so FLA is imported only when a model is to run on it (`--gdn-kernel fla`).
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedConfig, integrations

FLA = "fla"
_RULES = {
    "torch_chunk_gated_delta_rule": "chunk_gated_delta_rule",
    "torch_recurrent_gated_delta_rule": "fused_recurrent_gated_delta_rule",
}
"""Name in the modeling code -> name in FLA."""
_FAMILIES = frozenset({"olmo_hybrid", "qwen3_next", "qwen3_5", "qwen3_5_moe"})
"""Families that take nothing else from FLA."""
# The modeling code of older versions imports parts of FLA by name.
_decorate: Callable[..., Any] | None = getattr(integrations, "use_kernel_func_from_hub_with_fallback", None)


def import_modeling_code(config: PreTrainedConfig) -> None:
    """Import the code of a configuration's family, and not FLA with it."""
    package = type(config).__module__.rpartition(".")[0]
    family = package.rpartition(".")[2]
    if family not in _FAMILIES or _decorate is None or FLA in sys.modules:
        return
    sys.modules[FLA] = None  # type: ignore[assignment]  # so that importing it fails
    try:
        importlib.import_module(f"{package}.modeling_{family}")
    finally:
        del sys.modules[FLA]


@functools.cache
def with_library(function: Callable[..., Any], rule: str) -> Callable[..., Any]:
    """A function of modeling code called `rule`, running FLA's kernel if that package is installed."""
    plain = getattr(function, "__wrapped__", None)
    if _decorate is None or plain is None or rule not in _RULES or importlib.util.find_spec(FLA) is None:
        return function
    decorated: Callable[..., Any] = _decorate(_RULES[rule], FLA)(plain)
    return decorated
