"""Gated DeltaNet layers on the Triton kernels, inside the engine: convolution, rule, gates and norm without copies.

A layer's projections are its own modules and run on all tokens of a pass. Everything between them is computed here and
updates the layer's states in the cache in place. Outside the engine a layer runs its own code.

Shape suffixes: X tokens of all rows of a pass, N slots, B sequences, T tokens, H value heads, G key heads, K key
size, V value size, C channels of the convolution, W its kernel size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from model_adapters.engine.fast_modules.merged_linear import merge_projections
from model_adapters.engine.forward.mixers import TAKES_ROWS, by_groups
from model_adapters.engine.memory.passes import Pass, TokenPass, current_pass
from model_adapters.engine.memory.rows import split_dim
from model_adapters.kernels.packed_rows import PackedRows
from model_adapters.kernels.trial import KERNEL_DTYPES
from model_adapters.kernels.vector_product.linear import add_product, linear


@dataclass(frozen=True, slots=True)
class Projected:
    """The outputs of a layer's projections."""

    mixed: tuple[torch.Tensor, ...]
    """Inputs of the convolution, [B, T, channels] each, in the order of its channels: queries, keys, values."""
    decay_input_BTH: torch.Tensor
    beta_input_BTH: torch.Tensor
    gate: Callable[[], torch.Tensor]
    """The output gate [B, T, H × V], computed when it is needed."""


Projection = Callable[[torch.Tensor], Projected]


@dataclass(frozen=True, slots=True)
class _Family:
    """The attributes of a family's layer that the computation needs."""

    projection: Callable[[Any], Projection]
    norm: str
    out: str


def _merging(mixed: tuple[str, ...], decay: str, beta: str, gate: str) -> Callable[[Any], Projection]:
    """A family's projection, from the names of its linear layers; computed as one matrix if they can be merged."""

    def projection(layer: Any) -> Projection:
        inner = [getattr(layer, name) for name in (*mixed, decay, beta)]
        outer = getattr(layer, gate)
        merged = merge_projections(layer, (inner, (outer,)))

        def separately(x: torch.Tensor) -> Projected:
            *parts, decay_input, beta_input = (part(x) for part in inner)
            return Projected(tuple(parts), decay_input, beta_input, partial(outer, x))

        def together(x: torch.Tensor) -> Projected:
            # A model may be moved or reloaded after its kernels were chosen.
            if merged is None or not merged.is_current:
                return separately(x)
            *parts, decay_rows, beta_rows = merged.rows[0]
            # The gate is needed last: for a whole segment it would occupy memory until then.
            whole = isinstance(current_pass(), TokenPass)
            y = linear(x, merged.weight_ND if whole else merged.weight_ND[: merged.ends[0]])
            (gate_rows,) = merged.rows[1]
            gate = (lambda: y[..., gate_rows]) if whole else partial(linear, x, merged.weight_ND[gate_rows])
            # The parts are adjacent, in the order of the convolution's channels.
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
    """The layers of a model that this computation supports; may be empty."""
    return [
        module
        for module in model.modules()
        if type(module).__name__ in _FAMILIES and getattr(module, "activation", None) == "silu"
    ]


def fast_forward(layer: Any) -> Callable[..., torch.Tensor]:
    """Make a forward for one of `gated_delta_layers`, with its own signature plus an optional residual to add."""
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
        step = current_pass()
        if step is None or attention_mask is not None or hidden_states.dtype not in KERNEL_DTYPES:
            run = partial(own, layer) if step is None else by_groups(partial(own, layer), step)
            own_output: torch.Tensor = run(
                hidden_states, cache_params=cache_params, attention_mask=attention_mask, **kwargs
            )
            return own_output if residual is None else residual + own_output
        out_1XC = _run(layer, family, project, hidden_states, step)
        out: nn.Linear = getattr(layer, family.out)
        output: torch.Tensor = out(out_1XC) if residual is None else add_product(residual, out_1XC, out)
        return output

    setattr(forward, TAKES_ROWS, True)
    return forward


@torch.no_grad()
def _run(layer: Any, family: _Family, project: Projection, x_1XD: torch.Tensor, step: Pass) -> torch.Tensor:
    """Compute the input of the output projection, [1, X, H × V]."""
    # Imported late: Triton exists on Linux only, and importing it takes a second that runs on a CPU need not spend.
    from model_adapters.kernels.elementwise.triton_elementwise import rms_norm

    projected = project(x_1XD)
    inputs = [*projected.mixed, projected.decay_input_BTH, projected.beta_input_BTH]
    gate = projected.gate
    # The convolution's inputs are the largest tensors here; free them as soon as it has run.
    del projected
    norm = getattr(layer, family.norm)
    if isinstance(step, TokenPass) and len(inputs) == 3 and layer.num_k_heads == layer.num_v_heads:
        return _mix_tokens_at_once(layer, step, inputs, gate(), norm)
    out_1XHV = (_mix_tokens if isinstance(step, TokenPass) else _mix_rows)(layer, step, inputs)
    out_1XHV = rms_norm(out_1XHV, norm.weight, epsilon=norm.variance_epsilon, gate=gate().view(out_1XHV.shape))
    return out_1XHV.flatten(2)


def _mix_tokens(layer: Any, step: Pass, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Process one token in each of the first slots, [1, B, H, V]; one launch each, so that the step can be recorded."""
    from model_adapters.kernels.causal_convolution.triton_convolution import convolve_token
    from model_adapters.kernels.gated_delta.triton_decode import step_gated_delta_rule

    *mixed, decay_1BH, beta_1BH = inputs
    context_NCW, state_NHKV = _memory(layer, step, mixed[0])
    rows = slice(0, step.tokens)
    x_BC = (mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-1))[0]
    weight_CW = layer.conv1d.weight.squeeze(1)
    mixed_BC = convolve_token(x_BC, weight_CW, layer.conv1d.bias, context_BCW=context_NCW[rows])
    gates = _gates(layer, decay_1BH[0], beta_1BH[0])
    q, k, v = _heads(layer, mixed_BC)
    return step_gated_delta_rule(q, k, v, state_BHKV=state_NHKV[rows], raw_gates=gates)[None]


def _mix_tokens_at_once(
    layer: Any, step: TokenPass, inputs: list[torch.Tensor], gate_1BX: torch.Tensor, norm: Any
) -> torch.Tensor:
    """The same and the norm in a single launch, for as many key heads as value heads: [1, B, H × V]."""
    from model_adapters.kernels.gated_delta.triton_mixing import OutputNorm, mix_token

    x_1BC, decay_1BH, beta_1BH = inputs
    context_NCW, state_NHKV = _memory(layer, step, x_1BC)
    rows = slice(0, step.tokens)
    out_BHV = mix_token(
        x_1BC[0],
        layer.conv1d.weight.squeeze(1),
        layer.conv1d.bias,
        context_BCW=context_NCW[rows],
        gates=_gates(layer, decay_1BH[0], beta_1BH[0]),
        state_BHKV=state_NHKV[rows],
        norm=OutputNorm(split_dim(gate_1BX[0], -1, (-1, layer.head_v_dim)), norm.weight, norm.variance_epsilon),
    )
    return out_BHV.flatten(1)[None]


def _mix_rows(layer: Any, step: Pass, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Run the convolution and the delta rule on all rows, [1, X, H, V], and update the states of those that are kept.

    Empties `inputs`, to free each of them once it has been read.
    """
    from model_adapters.kernels.gated_delta.triton_prefill import prefill_gated_delta_rule

    *mixed, decay_1XH, beta_1XH = inputs
    inputs.clear()
    context_NCW, state_NHKV = _memory(layer, step, mixed[0])
    rows = step.packed_rows
    mixed_1XC = _convolve_segment(layer, tuple(mixed), context_NCW, rows)
    mixed.clear()
    out_1XHV, _ = prefill_gated_delta_rule(
        *_heads(layer, mixed_1XC),
        raw_gates=_gates(layer, decay_1XH, beta_1XH),
        initial_state_BHKV=state_NHKV,
        final_state_BHKV=state_NHKV,
        rows=rows,
    )
    return out_1XHV


def _heads(layer: Any, mixed: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Split the convolution's channels into queries, keys and values, [..., heads, size]."""
    q, k, v = mixed.split_with_sizes([layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
    heads = *mixed.shape[:-1], -1
    return q.view(*heads, layer.head_k_dim), k.view(*heads, layer.head_k_dim), v.view(*heads, layer.head_v_dim)


def _memory(layer: Any, step: Pass, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The convolution contexts [N, C, W] and recurrent states [N, H, K, V] of all slots."""
    state = step.linear_state(layer.layer_idx)
    context = state.conv(0, tuple(layer.conv1d.weight.shape[::2]), like)
    return context, state.state(0, (layer.num_v_heads, layer.head_k_dim, layer.head_v_dim), like)


def _convolve_segment(
    layer: Any, mixed: tuple[torch.Tensor, ...], context_NCW: torch.Tensor, rows: PackedRows
) -> torch.Tensor:
    from model_adapters.kernels.causal_convolution.triton_convolution import convolve_segment

    weight_CW, bias_C = layer.conv1d.weight.squeeze(1), layer.conv1d.bias
    if len(mixed) == 1:
        return convolve_segment(mixed[0], weight_CW, bias_C, context_BCW=context_NCW, rows=rows)
    out_1XC = mixed[0].new_empty((*mixed[0].shape[:2], weight_CW.shape[0]))
    start = 0
    for part_1XC in mixed:
        stop = start + part_1XC.shape[2]
        convolve_segment(
            part_1XC,
            weight_CW[start:stop],
            None if bias_C is None else bias_C[start:stop],
            context_BCW=context_NCW[:, start:stop],
            out_BTC=out_1XC[..., start:stop],
            rows=rows,
        )
        start = stop
    return out_1XC


def _gates(layer: Any, decay_input: torch.Tensor, beta_input: torch.Tensor) -> Any:
    from model_adapters.kernels.gated_delta.arguments import RawGates

    return RawGates(
        decay_input=decay_input,
        beta_input=beta_input,
        decay_rate_log=layer.A_log,
        decay_bias=layer.dt_bias,
        beta_scale=2.0 if getattr(layer, "allow_neg_eigval", False) else 1.0,
    )
