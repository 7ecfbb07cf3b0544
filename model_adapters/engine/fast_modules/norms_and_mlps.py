"""Triton kernels for the norms, SwiGLU and rotary positions of transformers' modules, with one pass over memory each.

Which formula a class computes is tested, not assumed: a kernel replaces a module only if it gives the same result on a
sample with the module's own weights.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from types import ModuleType
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.engine.fast_modules.merged_linear import merge_projections
from model_adapters.engine.memory.layer_sizes import head_size
from model_adapters.kernels.kernel_cache import checked_once, described
from model_adapters.kernels.trial import KERNEL_DTYPES, random_sample, trial
from model_adapters.kernels.vector_product.linear import add_product, has_vector_product, is_one_vector, linear
from model_adapters.module_patches import ModulePatches

ROTATE = "apply_rotary_pos_emb"
"""Name of the rotation function in transformers' modeling modules."""
_SAMPLE_TOKENS = 5
_MODULE_TOKENS = (1, 65)
"""On both sides of the limit up to which norms of few rows are launched differently."""

Forward = Callable[..., Any]
Maker = Callable[[Any], Forward]


def place_elementwise(model: PreTrainedModel, patches: ModulePatches) -> tuple[str, ...]:
    """Replace a model's elementwise modules by kernels; returns the names of what runs on kernels now."""
    placed = set()
    chosen: dict[type[nn.Module], Maker | None] = {}
    for module in model.modules():
        kind, candidates = type(module), tuple(_candidates(module))
        if not candidates:  # others of its class may have a weight that it lacks
            continue
        if kind not in chosen:
            chosen[kind] = next((make for name, make in candidates if _agrees(module, name, make)), None)
        make = chosen[kind]
        if make is not None:
            patches.place(module, "forward", make(module))
            placed.add(kind.__name__)
    for code in _modules_that_rotate(model):
        # A module-level function is shared by all models of a family and may already be patched by another model.
        found = getattr(code, ROTATE)
        own = getattr(found, "__wrapped__", found)
        fast = _fast_rotation(own, model.device.type)
        if _rotation_agrees(model, own, fast):
            patches.place(code, ROTATE, fast, own)
            placed.add(ROTATE)
    return tuple(sorted(placed))


def _candidates(module: nn.Module) -> Iterator[tuple[str, Maker]]:
    """The kernels that might compute what a module does, judged by its attributes, with their names."""
    weight = getattr(module, "weight", None)
    if "RMSNorm" in type(module).__name__ and isinstance(weight, nn.Parameter) and weight.dim() == 1:
        yield "norm", partial(_fast_norm, weight_offset=0.0)
        yield "norm with 1 + weight", partial(_fast_norm, weight_offset=1.0)
    if all(isinstance(getattr(module, name, None), nn.Linear) for name in ("gate_proj", "up_proj", "down_proj")):
        yield "SwiGLU", _fast_mlp


def _fast_norm(module: Any, *, weight_offset: float) -> Forward:
    own = type(module).forward
    named: float | None = getattr(module, "variance_epsilon", None)
    epsilon: float = getattr(module, "eps", 1e-6) if named is None else named

    def forward(
        hidden_states: torch.Tensor, gate: torch.Tensor | None = None, *, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        from model_adapters.kernels.elementwise.triton_elementwise import rms_norm

        if hidden_states.dtype not in KERNEL_DTYPES:
            rest = () if gate is None else (gate,)
            own_output: torch.Tensor = own(module, hidden_states, *rest)
            return own_output if residual is None else residual + own_output
        return rms_norm(
            hidden_states, module.weight, epsilon=epsilon, weight_offset=weight_offset, gate=gate, residual=residual
        )

    return forward


def _fast_mlp(module: Any) -> Forward:
    own = type(module).forward
    merged = merge_projections(module, ((module.gate_proj, module.up_proj),))

    def forward(x: torch.Tensor, *, residual: torch.Tensor | None = None) -> torch.Tensor:
        from model_adapters.kernels.elementwise.triton_elementwise import silu_product

        if x.dtype not in KERNEL_DTYPES or not x.is_contiguous():
            own_output: torch.Tensor = own(module, x)
            return own_output if residual is None else residual + own_output
        gate_proj, up_proj = module.gate_proj, module.up_proj
        if merged is None or not merged.is_current:
            gate = gate_proj(x)
            # In place: the gate is the layer's largest tensor, and nothing else reads it.
            product = silu_product(gate, up_proj(x), out=gate)
        elif is_one_vector(x, up_proj.weight) and has_vector_product(up_proj.weight):
            from model_adapters.kernels.vector_product.triton_vector_product import gated_vector_product

            product = gated_vector_product(x, gate_proj.weight, up_proj.weight)
        else:
            both = linear(x, merged.weight_ND)
            gate, up = (both[..., rows] for rows in merged.rows[0])
            product = silu_product(gate, up, out=gate)
        output: torch.Tensor = (
            module.down_proj(product) if residual is None else add_product(residual, product, module.down_proj)
        )
        return output

    return forward


def _fast_rotation(own: Forward, device_type: str) -> Forward:
    @wraps(own)
    def apply_rotary_pos_emb(
        q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from model_adapters.kernels.elementwise.triton_elementwise import rotate

        fits = (
            unsqueeze_dim == 1
            # Another model of the family may be on another device and call the same function.
            and q.device.type == device_type
            and q.dtype in KERNEL_DTYPES
            and q.stride(-1) == k.stride(-1) == 1
            and cos.dim() == 3
            and q.shape[-1] == k.shape[-1] == cos.shape[-1]
            and cos.is_contiguous()
            and sin.is_contiguous()
        )
        if not fits:
            own_output: tuple[torch.Tensor, torch.Tensor] = own(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)
            return own_output
        return rotate(q, cos, sin), rotate(k, cos, sin)

    return apply_rotary_pos_emb


def _agrees(module: Any, name: str, make: Maker) -> bool:
    """Whether a kernel and the module's own code give the same result."""
    weight = next(module.parameters())
    inputs = 2 if "Gated" in type(module).__name__ else 1
    samples = (
        tuple(_sample((1, tokens, weight.shape[-1]), weight, seed=seed) for seed in range(inputs))
        for tokens in _MODULE_TOKENS
    )
    own = partial(type(module).forward, module)
    shape = (described(module), *weight.shape, weight.dtype)
    checked = checked_once(weight.device, name, shape, lambda: trial(make(module), own, samples, weight.dtype))
    return checked is None


def _rotation_agrees(model: PreTrainedModel, own: Forward, fast: Forward) -> bool:
    """Whether a kernel and a family's own rotation give the same result, at each head size of its layers."""
    weight, layers = next(model.parameters()), model.config.get_text_config(decoder=True).per_layer_config
    sizes = sorted({head_size(layer) for layer in layers} - {0})
    samples = []
    for size in sizes:
        q = _sample((1, _SAMPLE_TOKENS, 2, size), weight).transpose(1, 2)
        angle = _sample((1, _SAMPLE_TOKENS, size // 2), weight, seed=1).float().repeat(1, 1, 2)
        samples.append((q, q, angle.cos(), angle.sin()))
    shape = (own.__module__, *sizes, weight.dtype)
    checked = checked_once(weight.device, "rotation", shape, lambda: trial(fast, own, samples, weight.dtype))
    return bool(sizes) and checked is None


def _sample(shape: tuple[int, ...], like: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    return random_sample(shape, like.device, like.dtype, seed=seed)


def _modules_that_rotate(model: PreTrainedModel) -> list[ModuleType]:
    names = sorted({type(module).__module__ for module in model.modules()})
    return [sys.modules[name] for name in names if hasattr(sys.modules[name], ROTATE)]
