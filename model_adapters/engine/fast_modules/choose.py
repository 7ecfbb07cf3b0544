"""Choose which kernels run a model when it is loaded, and report a choice that is not available.

`auto` uses the Triton kernels on a GPU if they compile and agree with their references there, and PyTorch's own
operators otherwise. A rejected kernel costs speed and one line of output, never the run.
"""

import importlib.util
import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.engine.fast_modules.gated_delta_net import fast_forward, gated_delta_layers
from model_adapters.engine.fast_modules.gated_delta_trial import find_fault
from model_adapters.engine.fast_modules.linear import place_vector_products
from model_adapters.engine.fast_modules.norms_and_mlps import place_elementwise
from model_adapters.engine.fast_modules.olmo_attention import place_fused_projections
from model_adapters.engine.fast_modules.olmo_layers import place_fused_layers
from model_adapters.engine.fast_modules.rotary_tables import place_rotary_tables
from model_adapters.engine.fast_modules.state_space import find_scan_fault, place_scan, scan_layers
from model_adapters.engine.forward.flash_attention_3 import activate_flash_attention_3
from model_adapters.failures import WAITS_SECONDS, is_out_of_memory, with_patience
from model_adapters.kernels.kernel_cache import use_kernel_cache
from model_adapters.messages import first_line
from model_adapters.modeling_code import with_library
from model_adapters.module_patches import patches_of

CHOICES = ("auto", "triton", "fla", "torch")
_RULES = (
    "torch_chunk_gated_delta_rule",
    "torch_recurrent_gated_delta_rule",
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "chunk_kimi_delta_attention",
    "recurrent_kimi_delta_attention",
)
"""Functions in transformers' modeling modules that use a library's kernels if that package is installed."""

_CHOSEN: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()
_LIBRARY: dict[tuple[str, str], Callable[..., Any]] = {}
"""The functions as transformers defined them on import, by Python module and name."""


def choose_kernels(model: PreTrainedModel, wanted: str = "auto") -> tuple[str, ...]:
    """Choose a model's kernels, replacing any earlier choice; returns a line per requested kernel that is unavailable.

    `wanted` selects what runs the gated delta rule (one of CHOICES). Raises UsageError for a choice that this machine
    or installation cannot provide, and if a GPU has no memory for the kernels' checks, even after some seconds.
    """
    if wanted not in CHOICES:
        raise UsageError(f"--gdn-kernel {wanted!r} is unknown; write one of {', '.join(CHOICES)}")
    on_gpu = model.device.type == "cuda"
    if wanted in ("triton", "fla") and not on_gpu:
        raise UsageError(f"--gdn-kernel {wanted} needs a CUDA device, but the model is on {model.device}; use torch")
    if wanted == "fla" and importlib.util.find_spec("fla") is None:
        raise UsageError("--gdn-kernel fla needs the package flash-linear-attention; install it, or use triton")
    try:
        return with_patience(lambda: _choose(model, wanted), waiting=_report_waiting)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UsageError(
            f"memory ran out on {model.device} while kernels were checked ({first_line(error)}), also after "
            f"{sum(WAITS_SECONDS):g} s; end other processes there, or use another --device"
        ) from error


def _report_waiting(line: str) -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    print(f"evalkit: {line}", file=sys.stderr)


def _choose(model: PreTrainedModel, wanted: str) -> tuple[str, ...]:
    on_gpu, lines = model.device.type == "cuda", []
    if (fault := activate_flash_attention_3(model.device)) is not None:
        lines.append(fault)
    patches_of(model).clear()
    if on_gpu and importlib.util.find_spec("triton") is not None:
        use_kernel_cache()
        place_vector_products(model, patches_of(model))
        place_elementwise(model, patches_of(model))
        place_rotary_tables(model, patches_of(model))
        place_fused_projections(model, patches_of(model))
    layers = gated_delta_layers(model)
    chosen = wanted if wanted != "auto" else "triton" if on_gpu else "torch"
    # The Triton layers call no function of transformers; their fallback is its own PyTorch code. On a GPU, a family
    # without such layers keeps transformers' choice, such as a library's convolution.
    _set_rules(model, library=chosen == "fla" or (wanted == "auto" and on_gpu and not layers))
    if chosen == "triton" and layers:
        fault = find_fault(model, layers[0])
        if fault is None:
            for layer in layers:
                patches_of(model).place(layer, "forward", fast_forward(layer))
        else:
            chosen = "torch"
            lines.append(f"the gated delta rule runs on PyTorch's operators, not on the Triton kernels: {fault}")
    if on_gpu:
        place_fused_layers(model, patches_of(model), fast_rule=chosen == "triton")
    if layers:
        _CHOSEN[model] = chosen
    elif scans := scan_layers(model):
        lines += _choose_scan(model, scans, chosen, library=wanted in ("auto", "fla"))
    return tuple(lines)


def gdn_kernel(model: PreTrainedModel) -> str | None:
    """The name of what runs the model's gated delta rule or Mamba-2 scan, for records; None if it has neither."""
    return _CHOSEN.get(model)


def _choose_scan(model: PreTrainedModel, scans: list[Any], chosen: str, *, library: bool) -> list[str]:
    """Let Mamba-2 layers use mamba-ssm if it is installed and allowed, otherwise the chosen kernels."""
    if library and model.device.type == "cuda" and importlib.util.find_spec("mamba_ssm") is not None:
        _CHOSEN[model] = "mamba_ssm"
        return []
    _CHOSEN[model] = "triton" if chosen == "triton" else "torch"
    if chosen != "triton":
        return []
    fault = find_scan_fault(scans[0], model.dtype)
    if fault is not None:
        _CHOSEN[model] = "torch"
        return [f"the state space scan runs on PyTorch's operators: the Triton kernel {fault}"]
    place_scan(scans[0], patches_of(model))
    return []


def _set_rules(model: PreTrainedModel, *, library: bool) -> None:
    """Let a model's family call the installed library's functions or its plain PyTorch code."""
    for name in sorted({type(module).__module__ for module in model.modules()}):
        code = sys.modules[name]
        for rule in _RULES:
            found = getattr(code, rule, None)
            if found is not None:
                own = _LIBRARY.setdefault((name, rule), found)
                setattr(code, rule, with_library(own, rule) if library else getattr(own, "__wrapped__", own))
