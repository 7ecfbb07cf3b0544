"""Run the scan of Mamba-2 layers of any family with the Triton kernels.

In transformers, each such family calls a function `mamba2_chunk_scan` for more than one token.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.kernels.kernel_cache import checked_once
from model_adapters.kernels.state_space.reference import step_sizes
from model_adapters.kernels.trial import LAYER_TOLERANCE, random_sample, trial
from model_adapters.module_patches import ModulePatches

SCAN = "mamba2_chunk_scan"
TOKENS = 300
"""Length of the trial, longer than one chunk."""
_SIZES = ("num_heads", "head_dim", "n_groups", "ssm_state_size", "A_log")
_LIBRARY: dict[str, Callable[..., Any]] = {}
"""The scan functions as transformers defined them on import, by Python module."""


def scan_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The model's Mamba-2 layers."""
    return [
        module
        for module in model.modules()
        if hasattr(sys.modules[type(module).__module__], SCAN) and all(hasattr(module, name) for name in _SIZES)
    ]


def find_scan_fault(layer: Any, dtype: torch.dtype) -> str | None:
    """Return why the Triton kernels cannot replace the family's own scan, or None if the results agree."""
    plain = inspect.unwrap(getattr(sys.modules[type(layer).__module__], SCAN))
    device = layer.A_log.device
    heads, size, groups, state = layer.num_heads, layer.head_dim, layer.n_groups, layer.ssm_state_size
    shapes = [(heads, size), (heads,), (groups, state), (groups, state)]
    x, dt, keys, queries = (
        random_sample((1, TOKENS, *shape), device, dtype, seed=seed) for seed, shape in enumerate(shapes)
    )
    start = random_sample((1, heads, size, state), device, torch.float32, seed=len(shapes))
    rates = -torch.linspace(0.01, 16, heads, device=device)

    def called(scan: Callable[..., Any]) -> tuple[torch.Tensor, torch.Tensor]:
        out, final = scan(
            x, dt, rates, keys, queries, chunk_size=layer.chunk_size, D=layer.D, dt_bias=layer.dt_bias,
            initial_states=start, dt_softplus=True, return_final_states=True,
        )  # fmt: skip
        return out.to(dtype), final.float()

    fast = partial(called, _triton_scan)
    return checked_once(
        device,
        "state space scan",
        (plain.__module__, *shapes, layer.chunk_size, dtype),
        lambda: trial(fast, partial(called, plain), [()], dtype, tolerance=LAYER_TOLERANCE),
    )


def place_scan(layer: nn.Module, patches: ModulePatches) -> None:
    """Let the layer's family use the Triton scan for tensors on the layer's device."""
    code, device = sys.modules[type(layer).__module__], next(layer.parameters()).device
    own = _LIBRARY.setdefault(code.__name__, getattr(code, SCAN))

    @functools.wraps(own)
    def scan(x_BTHP: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return (_triton_scan if x_BTHP.device == device else own)(x_BTHP, *args, **kwargs)

    patches.place(code, SCAN, scan, own)


def _triton_scan(
    x_BTHP: torch.Tensor,
    dt_BTH: torch.Tensor,
    rates_H: torch.Tensor,
    keys_BTGN: torch.Tensor,
    queries_BTGN: torch.Tensor,
    *,
    D: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    initial_states: torch.Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
    return_final_states: bool = False,
    **_: Any,
) -> Any:
    """The scan with the signature of transformers' function; the arguments in `kwargs` concern only padded passes."""
    from model_adapters.kernels.state_space.triton_scan import scan_state_space

    out, final = scan_state_space(
        x_BTHP,
        keys_BTGN,
        queries_BTGN,
        steps_BTH=step_sizes(dt_BTH, dt_bias, softplus=dt_softplus, limit=dt_limit),
        rates_H=rates_H,
        skip_H=D,
        initial_state_BHPN=None if initial_states is None else initial_states.float().contiguous(),
    )
    return (out, final) if return_final_states else out
