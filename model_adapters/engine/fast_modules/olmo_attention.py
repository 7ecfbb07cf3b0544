"""Attention layers that normalize queries and keys over all heads: merged projections, fused norms and rotation.

Used only inside the engine; outside it a layer runs its own code. With `outputs`, only so many of the last tokens have
queries and an output, and the others just keys and values.

Shape suffixes: B sequences, T tokens, H query heads, G key/value heads, D head size.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from model_adapters.engine.fast_modules.merged_linear import MergedProjections, merge_projections
from model_adapters.engine.forward.slot_attention import slot_attention
from model_adapters.engine.memory.passes import TokenPass, current_pass
from model_adapters.kernels.kernel_cache import checked_once
from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.trial import KERNEL_DTYPES, random_sample, trial
from model_adapters.kernels.vector_product.linear import linear
from model_adapters.module_patches import ModulePatches

NORMED_OVER_HEADS = ("Olmo2Attention", "Olmo3Attention", "OlmoHybridAttention")
_SAMPLE_TOKENS = 5
_SAMPLE_PLACES = 8
"""Fewer than the sample's last position, as in a ring."""


def place_fused_projections(model: PreTrainedModel, patches: ModulePatches) -> int:
    """Replace the forward of a model's attention layers by the fused one; returns the number of layers replaced."""
    layers: list[Any] = [module for module in model.modules() if type(module).__name__ in NORMED_OVER_HEADS]
    if not layers or not _agrees(layers[0]):
        return 0
    placed, stores = 0, _stores(layers[0])
    for layer in layers:
        forward = _fused(layer, stores=stores)
        if forward is not None:
            patches.place(layer, "forward", forward)
            placed += 1
    return placed


def _fused(layer: Any, *, stores: bool) -> Callable[..., tuple[torch.Tensor, None]] | None:
    """The fused forward; with `stores`, keys and values of single tokens go to the cache in the launch of the norms."""
    merged = merge_projections(layer, ((layer.q_proj, layer.k_proj, layer.v_proj),))
    if merged is None:
        return None
    own = type(layer).forward

    def forward(
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        outputs: int | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        inside = current_pass() is not None and past_key_values is not None and attention_mask is None
        # Tables of another size rotate only a part of each head.
        whole = position_embeddings is None or position_embeddings[0].shape[-1] == layer.head_dim
        if not inside or not whole or not merged.is_current or hidden_states.dtype not in KERNEL_DTYPES:
            out, _ = own(layer, hidden_states, position_embeddings, attention_mask, past_key_values, **kwargs)
            return out if outputs is None else _last(out, outputs), None
        q, k, v = _projected(hidden_states, merged, outputs)
        step = current_pass()
        if stores and isinstance(step, TokenPass):
            keys, values = _by_heads(layer, k), _by_heads(layer, v)
            places = step.places_of(layer.layer_idx, keys, values)
            q_BTHD = _norm_rotate_store(layer, q[0], k[0], v[0], position_embeddings, places)[None]
        else:
            q_BTHD, k_BTGD = _norm_rotate(layer, q, k, position_embeddings)
            keys, values = past_key_values.update(k_BTGD.transpose(1, 2), _by_heads(layer, v), layer.layer_idx)
            del k_BTGD
        del q, k, v  # a cache that keeps views of them holds its own references
        out, _ = slot_attention(layer, q_BTHD.transpose(1, 2), keys, values, None, scaling=layer.scaling, **kwargs)
        output: torch.Tensor = layer.o_proj(out.flatten(2))
        return output, None

    return forward


def _projected(x: torch.Tensor, merged: MergedProjections, outputs: int | None) -> list[torch.Tensor]:
    """Queries, keys and values; queries of the last `outputs` tokens only, if given."""
    first, *others = merged.rows[0]
    if outputs is None:
        qkv = linear(x, merged.weight_ND)
        return [qkv[..., rows] for rows in (first, *others)]
    q = linear(_last(x, outputs), merged.weight_ND[first])
    kv = linear(x, merged.weight_ND[first.stop : others[-1].stop])
    return [q, *(kv[..., rows.start - first.stop : rows.stop - first.stop] for rows in others)]


def _last(x_1TD: torch.Tensor, tokens: int) -> torch.Tensor:
    return x_1TD[:, x_1TD.shape[1] - tokens :]


def _norm_rotate(
    layer: Any, q: torch.Tensor, k: torch.Tensor, cos_sin: tuple[torch.Tensor, torch.Tensor] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    from model_adapters.kernels.elementwise.triton_norm_rotate import norm_rotate

    return norm_rotate(
        q,
        k,
        q_weight_X=layer.q_norm.weight,
        k_weight_Y=layer.k_norm.weight,
        epsilon=layer.q_norm.variance_epsilon,
        head_size=layer.head_dim,
        cos_sin=None if cos_sin is None else (cos_sin[0].contiguous(), cos_sin[1].contiguous()),
    )


def _by_heads(layer: Any, x_BTX: torch.Tensor) -> torch.Tensor:
    return x_BTX.view(*x_BTX.shape[:-1], -1, layer.head_dim).transpose(1, 2)


def _norm_rotate_store(
    layer: Any,
    q_BX: torch.Tensor,
    k_BY: torch.Tensor,
    v_BY: torch.Tensor,
    cos_sin: tuple[torch.Tensor, torch.Tensor] | None,
    places: TokenPlaces,
) -> torch.Tensor:
    from model_adapters.kernels.elementwise.triton_norm_rotate import norm_rotate_store

    return norm_rotate_store(
        q_BX,
        k_BY,
        v_BY,
        q_weight_X=layer.q_norm.weight,
        k_weight_Y=layer.k_norm.weight,
        epsilon=layer.q_norm.variance_epsilon,
        head_size=layer.head_dim,
        cos_sin=None if cos_sin is None else (cos_sin[0][0].contiguous(), cos_sin[1][0].contiguous()),
        places=places,
    )


def _agrees(layer: Any) -> bool:
    """Whether the kernel gives the same result as a layer's own norms and rotation."""
    weight = layer.q_proj.weight
    if weight.dtype not in KERNEL_DTYPES or layer.q_norm.variance_epsilon != layer.k_norm.variance_epsilon:
        return False

    def sample(size: int, seed: int) -> torch.Tensor:
        return random_sample((1, _SAMPLE_TOKENS, size), weight.device, weight.dtype, seed=seed)

    def own(q: torch.Tensor, k: torch.Tensor, cos_sin: tuple[torch.Tensor, torch.Tensor] | None) -> Any:
        normed = (type(norm).forward(norm, x) for x, norm in ((q, layer.q_norm), (k, layer.k_norm)))
        heads = [x.view(*x.shape[:-1], -1, layer.head_dim) for x in normed]
        return tuple(x if cos_sin is None else _rotated(x.double(), *cos_sin).to(x.dtype) for x in heads)

    sides = sample(layer.q_norm.weight.shape[0], 0), sample(layer.k_norm.weight.shape[0], 1)
    angle = sample(layer.head_dim // 2, 2).float().repeat(1, 1, 2)
    tables = angle.cos().to(weight.dtype), angle.sin().to(weight.dtype)
    samples = [(*sides, None), (*sides, tables)]
    shape = (type(layer).__qualname__, *(norm.weight.shape[0] for norm in (layer.q_norm, layer.k_norm)), layer.head_dim)
    checked = checked_once(
        weight.device,
        "norm and rotation",
        (*shape, weight.dtype),
        lambda: trial(partial(_norm_rotate, layer), own, samples, weight.dtype),
    )
    return checked is None


def _stores(layer: Any) -> bool:
    """Whether the kernel that also stores gives the same queries, keys and values as the one that does not."""
    weight, kv_size = layer.q_proj.weight, layer.k_norm.weight.shape[0]
    heads, kv_heads = layer.q_norm.weight.shape[0] // layer.head_dim, kv_size // layer.head_dim
    slots, positions = _SAMPLE_TOKENS + 1, torch.arange(_SAMPLE_TOKENS, device=weight.device) * 3

    def sample(shape: tuple[int, ...], seed: int) -> torch.Tensor:
        return random_sample(shape, weight.device, weight.dtype, seed=seed)

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cos_sin: Any) -> tuple[torch.Tensor, ...]:
        kept = sample((slots, kv_heads, _SAMPLE_PLACES, layer.head_dim), 3)
        places = TokenPlaces(kept, kept.clone(), positions)
        return _norm_rotate_store(layer, q, k, v, cos_sin, places), places.k_NGMD, places.v_NGME

    def apart(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cos_sin: Any) -> tuple[torch.Tensor, ...]:
        kept = sample((slots, kv_heads, _SAMPLE_PLACES, layer.head_dim), 3)
        q_BHD, k_BGD = (x[0] for x in _norm_rotate(layer, q[None], k[None], cos_sin))
        keys, values = kept, kept.clone()
        for row, place in enumerate((positions % _SAMPLE_PLACES).tolist()):
            keys[row, :, place], values[row, :, place] = k_BGD[row], v[row].view(kv_heads, -1)
        return q_BHD, keys, values

    sizes = heads * layer.head_dim, kv_size, kv_size
    sides = [sample((_SAMPLE_TOKENS, size), seed) for seed, size in enumerate(sizes)]
    angle = sample((1, _SAMPLE_TOKENS, layer.head_dim // 2), 4).float().repeat(1, 1, 2)
    tables = angle.cos().to(weight.dtype), angle.sin().to(weight.dtype)
    samples = [(*sides, None), (*sides, tables)]
    checked = checked_once(
        weight.device,
        "norm, rotation and store",
        (heads, kv_heads, layer.head_dim, weight.dtype),
        lambda: trial(kernel, apart, samples, weight.dtype),
    )
    return checked is None


def _rotated(x_BTHD: torch.Tensor, cos_BTD: torch.Tensor, sin_BTD: torch.Tensor) -> torch.Tensor:
    first, second = x_BTHD.chunk(2, dim=-1)
    return x_BTHD * cos_BTD[:, :, None] + torch.cat([-second, first], dim=-1) * sin_BTD[:, :, None]
