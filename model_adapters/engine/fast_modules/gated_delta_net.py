"""Gated DeltaNet layers on the Triton kernels, inside the engine: convolution, rule, gates and norm without copies.

A layer's projections are its own modules; what lies between them is computed here, from the states that the cache
holds for the layer to the states after it, in place. Outside the engine a layer runs its own code.

Shape suffixes: B sequences, T tokens, H value heads, G key heads, K key size, V value size, C channels of the
convolution, W its kernel size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from model_adapters.engine.fast_modules.merged_linear import merge_projections
from model_adapters.engine.memory.passes import CacheStep, DecodeStep, current_step
from model_adapters.kernels.trial import KERNEL_DTYPES
from model_adapters.kernels.vector_product.linear import add_product, linear


@dataclass(frozen=True, slots=True)
class Projected:
    """What a layer's projections make of its input."""

    mixed: tuple[torch.Tensor, ...]
    """Inputs of the convolution, [B, T, channels] each, in the order of its channels: queries, keys, values."""
    decay_input_BTH: torch.Tensor
    beta_input_BTH: torch.Tensor
    gate: Callable[[], torch.Tensor]
    """The output's gate [B, T, H × V], computed when it is needed."""


Projection = Callable[[torch.Tensor], Projected]


@dataclass(frozen=True, slots=True)
class _Family:
    """Where a family's layer keeps what the computation needs."""

    projection: Callable[[Any], Projection]
    norm: str
    out: str


def _merging(mixed: tuple[str, ...], decay: str, beta: str, gate: str) -> Callable[[Any], Projection]:
    """The projection of a family whose parts are linear layers of these names, read as one matrix where they can be."""

    def projection(layer: Any) -> Projection:
        inner = [getattr(layer, name) for name in (*mixed, decay, beta)]
        outer = getattr(layer, gate)
        merged = merge_projections(layer, (inner, (outer,)))

        def separately(x: torch.Tensor) -> Projected:
            *parts, decay_input, beta_input = (part(x) for part in inner)
            return Projected(tuple(parts), decay_input, beta_input, partial(outer, x))

        def together(x: torch.Tensor) -> Projected:
            # A model may be moved or loaded anew after its kernels were chosen.
            if merged is None or not merged.is_current:
                return separately(x)
            *parts, decay_rows, beta_rows = merged.rows[0]
            # The gate is the last that is needed: of a segment it would take up memory until then.
            whole = x.shape[1] == 1
            y = linear(x, merged.weight_ND if whole else merged.weight_ND[: merged.ends[0]])
            (gate_rows,) = merged.rows[1]
            gate = (lambda: y[..., gate_rows]) if whole else partial(linear, x, merged.weight_ND[gate_rows])
            # The parts stand beside each other, in the order of the convolution's channels.
            channels = y[..., parts[0].start : parts[-1].stop]
            return Projected((channels,), y[..., decay_rows], y[..., beta_rows], gate)

        return together

    return projection


def _project_qwen3_next(layer: Any, x: torch.Tensor) -> Projected:
    q, k, v, gate, beta, decay = layer.fix_query_key_value_ordering(layer.in_proj_qkvz(x), layer.in_proj_ba(x))
    return Projected(tuple(part.flatten(2) for part in (q, k, v)), decay, beta, lambda: gate.flatten(2))


_OLMO_HYBRID = _merging(("q_proj", "k_proj", "v_proj"), "a_proj", "b_proj", "g_proj")
_QWEN3_5 = _merging(("in_proj_qkv",), "in_proj_a", "in_proj_b", "in_proj_z")
_FAMILIES = {
    "OlmoHybridGatedDeltaNet": _Family(_OLMO_HYBRID, "o_norm", "o_proj"),
    "Qwen3NextGatedDeltaNet": _Family(lambda layer: partial(_project_qwen3_next, layer), "norm", "out_proj"),
    "Qwen3_5GatedDeltaNet": _Family(_QWEN3_5, "norm", "out_proj"),
    "Qwen3_5MoeGatedDeltaNet": _Family(_QWEN3_5, "norm", "out_proj"),
}


def gated_delta_layers(model: nn.Module) -> list[nn.Module]:
    """The layers of a model that this computation covers; perhaps none."""
    return [
        module
        for module in model.modules()
        if type(module).__name__ in _FAMILIES and getattr(module, "activation", None) == "silu"
    ]


def fast_forward(layer: Any) -> Callable[..., torch.Tensor]:
    """A forward for one of `gated_delta_layers`, with the signature of its own and a residual to add, if wanted."""
    family = _FAMILIES[type(layer).__name__]
    own = type(layer).forward
    project = family.projection(layer)

    def forward(
        hidden_states: torch.Tensor,
        cache_params: Any = None,
        attention_mask: torch.Tensor | None = None,
        residual: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        step = current_step()
        if step is None or attention_mask is not None or hidden_states.dtype not in KERNEL_DTYPES:
            own_output: torch.Tensor = own(
                layer, hidden_states, cache_params=cache_params, attention_mask=attention_mask, **kwargs
            )
            return own_output if residual is None else residual + own_output
        out_BTX = _run(layer, family, project, hidden_states, cache_params, step)
        out: nn.Linear = getattr(layer, family.out)
        output: torch.Tensor = out(out_BTX) if residual is None else add_product(residual, out_BTX, out)
        return output

    return forward


@torch.no_grad()
def _run(
    layer: Any, family: _Family, project: Projection, x_BTD: torch.Tensor, cache: Any, step: CacheStep
) -> torch.Tensor:
    """What the output projection takes, [B, T, H × V]."""
    # Imported late: Triton is on Linux alone, and takes a second that the processor's runs need not spend.
    from model_adapters.kernels.elementwise.triton_elementwise import rms_norm

    projected = project(x_BTD)
    context_BCW, state_BHKV = _states(layer, cache, step, x_BTD)
    one_token = isinstance(step, DecodeStep)
    mixed_BTC = (_convolve_token if one_token else _convolve_segment)(layer, projected.mixed, context_BCW)
    decay_BTH, beta_BTH, gate = projected.decay_input_BTH, projected.beta_input_BTH, projected.gate
    # The inputs of the convolution are the largest tensors here, and are not needed any more.
    del projected
    parts = torch.split(mixed_BTC, [layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
    sizes = (layer.head_k_dim, layer.head_k_dim, layer.head_v_dim)
    q, k, v = (part.view(*part.shape[:2], -1, size) for part, size in zip(parts, sizes, strict=True))
    out_BTHV = (_step if one_token else _scan)(layer, (q, k, v), decay_BTH, beta_BTH, state_BHKV)
    norm = getattr(layer, family.norm)
    gate_BTHV = gate().view(out_BTHV.shape)
    out_BTHV = rms_norm(out_BTHV, norm.weight, epsilon=norm.variance_epsilon, gate=gate_BTHV)
    return out_BTHV.flatten(2)


def _states(layer: Any, cache: Any, step: CacheStep, x_BTD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The convolution's context and the recurrent state, to be updated in place; zeros where nothing came before."""
    view = cache.layers[layer.layer_idx]
    context, state = view.conv_states[0], view.recurrent_states[0]
    if context is None or state is None:
        sizes = (layer.num_v_heads, layer.head_k_dim, layer.head_v_dim)
        width = layer.conv1d.weight.shape[-1]
        context = x_BTD.new_zeros((x_BTD.shape[0], layer.conv1d.weight.shape[0], width))
        state = torch.zeros((x_BTD.shape[0], *sizes), dtype=torch.float32, device=x_BTD.device)
        view.update_conv_state(context, 0, width)
        view.update_recurrent_state(state, 0)
        # As stored, where the view stores.
        stored = view.conv_states[0], view.recurrent_states[0]
        context = context if stored[0] is None else stored[0]
        state = state if stored[1] is None else stored[1]
    if not step.continued:
        context.zero_()
        state.zero_()
    return context, state


def _convolve_segment(layer: Any, mixed: tuple[torch.Tensor, ...], context_BCW: torch.Tensor) -> torch.Tensor:
    from model_adapters.kernels.causal_convolution.triton_convolution import convolve_segment

    weight_CW, bias_C = layer.conv1d.weight.squeeze(1), layer.conv1d.bias
    out_BTC = mixed[0].new_empty((*mixed[0].shape[:2], weight_CW.shape[0]))
    start = 0
    for part_BTC in mixed:
        stop = start + part_BTC.shape[2]
        convolve_segment(
            part_BTC,
            weight_CW[start:stop],
            None if bias_C is None else bias_C[start:stop],
            context_BCW=context_BCW[:, start:stop],
            out_BTC=out_BTC[..., start:stop],
        )
        start = stop
    return out_BTC


def _convolve_token(layer: Any, mixed: tuple[torch.Tensor, ...], context_BCW: torch.Tensor) -> torch.Tensor:
    from model_adapters.kernels.causal_convolution.triton_convolution import convolve_token

    x_BC = (mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-1))[:, 0]
    return convolve_token(x_BC, layer.conv1d.weight.squeeze(1), layer.conv1d.bias, context_BCW=context_BCW)[:, None]


def _scan(
    layer: Any,
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    decay_BTH: torch.Tensor,
    beta_BTH: torch.Tensor,
    state_BHKV: torch.Tensor,
) -> torch.Tensor:
    from model_adapters.kernels.gated_delta.triton_prefill import prefill_gated_delta_rule

    gates = _gates(layer, decay_BTH, beta_BTH)
    out_BTHV, _ = prefill_gated_delta_rule(
        *qkv, raw_gates=gates, initial_state_BHKV=state_BHKV, final_state_BHKV=state_BHKV
    )
    return out_BTHV


def _step(
    layer: Any,
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    decay_BTH: torch.Tensor,
    beta_BTH: torch.Tensor,
    state_BHKV: torch.Tensor,
) -> torch.Tensor:
    from model_adapters.kernels.gated_delta.triton_decode import step_gated_delta_rule

    q_BGK, k_BGK, v_BHV = (x[:, 0] for x in qkv)
    gates = _gates(layer, decay_BTH[:, 0], beta_BTH[:, 0])
    return step_gated_delta_rule(q_BGK, k_BGK, v_BHV, state_BHKV=state_BHKV, raw_gates=gates)[:, None]


def _gates(layer: Any, decay_input: torch.Tensor, beta_input: torch.Tensor) -> Any:
    from model_adapters.kernels.gated_delta.arguments import RawGates

    return RawGates(
        decay_input=decay_input,
        beta_input=beta_input,
        decay_rate_log=layer.A_log,
        decay_bias=layer.dt_bias,
        beta_scale=2.0 if getattr(layer, "allow_neg_eigval", False) else 1.0,
    )
