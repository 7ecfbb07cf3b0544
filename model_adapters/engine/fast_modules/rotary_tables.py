"""The tables of rotary positions in one launch, where transformers' modules take about eight small ones.

Which formula a module computes is tested, not assumed: the kernel replaces it only if both give the same tables for
positions up to MOST_POSITION. Modules whose frequencies depend on the prompt's length keep their own code.

Su et al. (arXiv:2104.09864). Shape suffixes: B sequences, T tokens, R frequencies.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from model_adapters.kernels.kernel_cache import checked_once, described
from model_adapters.kernels.trial import KERNEL_DTYPES, trial
from model_adapters.module_patches import ModulePatches

MOST_POSITION = 65_535
_CHANGING_TYPES = ("dynamic", "longrope")
"""Types of rotary positions whose frequencies transformers changes with the length."""

Tables = tuple[torch.Tensor, torch.Tensor]


def place_rotary_tables(model: PreTrainedModel, patches: ModulePatches) -> int:
    """Replace the forward of a model's rotary modules by the kernel; returns the number of modules replaced."""
    placed, dtype = 0, next(model.parameters()).dtype
    for module in model.modules():
        if type(module).__name__.endswith("RotaryEmbedding") and _is_constant(module) and _agrees(module, dtype):
            patches.place(module, "forward", _fast(module))
            placed += 1
    return placed


def _is_constant(module: Any) -> bool:
    types = getattr(module, "rope_type", None)
    named = set(types.values() if isinstance(types, dict) else [types])
    return None not in named and not named & set(_CHANGING_TYPES)


def _kinds(module: Any) -> tuple[str | None, ...]:
    """The layer types that have frequencies of their own; None stands for all layers."""
    named = [kind for kind in getattr(module, "layer_types", None) or () if hasattr(module, f"{kind}_inv_freq")]
    return tuple(named) or ((None,) if hasattr(module, "inv_freq") else ())


def _numbers(module: Any, kind: str | None) -> tuple[torch.Tensor, float]:
    """The frequencies and the factor on the tables."""
    start = "" if kind is None else f"{kind}_"
    return getattr(module, f"{start}inv_freq"), float(getattr(module, f"{start}attention_scaling"))


def _own_tables(module: Any, x: torch.Tensor, position_ids: torch.Tensor | None, kind: str | None) -> Tables:
    tables: Tables = type(module).forward(module, x, position_ids, *(() if kind is None else (kind,)))
    return tables


def _fast(module: Any) -> Callable[..., Tables]:
    kinds, kept_dtypes = _kinds(module), dict[torch.dtype, torch.dtype]()

    def forward(x: torch.Tensor, position_ids: torch.Tensor | None = None, layer_type: str | None = None) -> Tables:
        from model_adapters.kernels.elementwise.triton_rotary import rotary_tables

        plain = position_ids is not None and position_ids.dim() == 2 and position_ids.is_contiguous()
        if position_ids is None or not plain or layer_type not in kinds or x.dtype not in KERNEL_DTYPES:
            return _own_tables(module, x, position_ids, layer_type)
        frequency_R, scaling = _numbers(module, layer_type)
        if frequency_R.dtype != torch.float32 or not frequency_R.device == position_ids.device == x.device:
            return _own_tables(module, x, position_ids, layer_type)
        if x.dtype not in kept_dtypes:
            # Some families keep their tables in fp32, others round them like their features.
            kept_dtypes[x.dtype] = _own_tables(module, x[:1, :1], position_ids[:1, :1], layer_type)[0].dtype
        return rotary_tables(position_ids, frequency_R, scaling=scaling, dtype=kept_dtypes[x.dtype])

    return forward


def _agrees(module: Any, dtype: torch.dtype) -> bool:
    """Whether the kernel gives a module's own tables, for every kind of layer."""
    kinds = _kinds(module)
    if not kinds or dtype not in KERNEL_DTYPES:
        return False
    device = _numbers(module, kinds[0])[0].device
    positions = [0, 1, 2, 77, 4_095, MOST_POSITION]
    position_BT = torch.tensor([positions, positions[::-1]], device=device)
    x = torch.zeros((*position_BT.shape, 1), dtype=dtype, device=device)
    # Tables of half precision may differ in their last digit.
    tolerated = torch.float32 if dtype == torch.float32 else torch.float16

    def check() -> str | None:
        fast = _fast(module)
        return trial(
            lambda kind: fast(x, position_BT, kind),
            lambda kind: tuple(_own_tables(module, x, position_BT, kind)),
            [(kind,) for kind in kinds],
            tolerated,
        )

    shape = (described(module), *(len(_numbers(module, kind)[0]) for kind in kinds), dtype)
    return checked_once(device, "rotary tables", shape, check) is None
