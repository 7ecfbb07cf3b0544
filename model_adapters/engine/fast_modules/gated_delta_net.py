"""Gated DeltaNet layers on the Triton kernels, inside the engine: convolution, rule, gates and norm without copies.

A layer's projections are its own modules and run on all tokens of a pass. Everything between them is computed here and
updates the layer's states in the cache in place. Outside the engine a layer runs its own code.

Shape suffixes: X tokens of all rows of a pass, N slots, B rows of a group, T tokens, H value heads, G key heads, K key
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
from model_adapters.engine.memory.rows import RowGroup, split_dim
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

CLOSED_GATE = -80.0
"""Input for both gates with which the state does not decay and the amount written to it vanishes in fp32."""


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
    groups = step.padded_state_groups
    parts = [_mix_tokens(layer, step, inputs)] if isinstance(step, TokenPass) else []
    while len(parts) < len(groups.groups):
        group = groups.groups[len(parts)]
        batched = [group.batch(x) for x in inputs]
        if group is groups.groups[-1]:
            inputs.clear()
        parts.append(_mix_group(layer, step, group, batched))
    out_1XHV = groups.join(parts)
    out_1XHV = rms_norm(out_1XHV, norm.weight, epsilon=norm.variance_epsilon, gate=gate().view(out_1XHV.shape))
    return out_1XHV.flatten(2)


def _mix_tokens(layer: Any, step: TokenPass, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Process one token in each of the first slots, [B, 1, H, V]; one launch each, so that the step can be recorded."""
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
    return step_gated_delta_rule(q, k, v, state_BHKV=state_NHKV[rows], raw_gates=gates)[:, None]


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


def _mix_group(layer: Any, step: Pass, group: RowGroup, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Run the convolution and the delta rule on a group of rows, [B, T, H, V], and update their states."""
    from model_adapters.kernels.gated_delta.triton_prefill import prefill_gated_delta_rule

    *mixed, decay_BTH, beta_BTH = inputs
    inputs.clear()
    context_BCW, state_BHKV = _states_of(group, *_memory(layer, step, mixed[0]))
    if group.keeps and group.is_padded:
        # Padding leaves a state unchanged if it neither decays the state nor writes to it.
        decay_BTH, beta_BTH = (x.masked_fill(group.padding[..., None], CLOSED_GATE) for x in (decay_BTH, beta_BTH))
        last_BCW = _last_inputs(context_BCW, mixed, group.row_tokens)
    mixed_BTC = _convolve_segment(layer, tuple(mixed), context_BCW)
    mixed.clear()
    if group.keeps and group.is_padded:
        context_BCW.copy_(last_BCW)
    gates = _gates(layer, decay_BTH, beta_BTH)
    out_BTHV, _ = prefill_gated_delta_rule(
        *_heads(layer, mixed_BTC), raw_gates=gates, initial_state_BHKV=state_BHKV, final_state_BHKV=state_BHKV
    )
    return out_BTHV


def _heads(layer: Any, mixed: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Split the convolution's channels into queries, keys and values, [..., heads, size]."""
    parts = torch.split(mixed, [layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
    sizes = (layer.head_k_dim, layer.head_k_dim, layer.head_v_dim)
    return tuple(split_dim(part, -1, (-1, size)) for part, size in zip(parts, sizes, strict=True))


def _memory(layer: Any, step: Pass, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The convolution contexts [N, C, W] and recurrent states [N, H, K, V] of all slots."""
    state = step.linear_state(layer.layer_idx)
    context = state.conv(0, tuple(layer.conv1d.weight.shape[::2]), like)
    return context, state.state(0, (layer.num_v_heads, layer.head_k_dim, layer.head_v_dim), like)


def _states_of(
    group: RowGroup, context_NCW: torch.Tensor, state_NHKV: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The context and state of each row, to be updated in place; zeros if the row starts a sequence."""
    if group.keeps:
        context, state = context_NCW[group.slots], state_NHKV[group.slots]
    else:
        context, state = context_NCW.index_select(0, group.row_slots), state_NHKV.index_select(0, group.row_slots)
    if not group.continued:
        context.zero_()
        state.zero_()
    elif group.fresh_rows is not None:
        context.masked_fill_(group.fresh_rows[:, None, None], 0.0)
        state.masked_fill_(group.fresh_rows[:, None, None, None], 0.0)
    return context, state


def _last_inputs(before_BCW: torch.Tensor, parts: list[torch.Tensor], tokens_B: torch.Tensor) -> torch.Tensor:
    """The last W inputs of each row, taken from its context and its own `tokens_B`; parts are [B, T, channels]."""
    rows, places = before_BCW.shape[0], before_BCW.shape[2]
    row_B1 = torch.arange(rows, device=before_BCW.device)[:, None]
    # Of a row with fewer than W tokens, the first places are in its context.
    token_BW = tokens_B[:, None] + torch.arange(-places, 0, device=before_BCW.device)
    new_BWC = torch.cat([part[row_B1, token_BW.clamp(min=0)] for part in parts], dim=-1)
    old_BWC = before_BCW.transpose(1, 2)[row_B1, (token_BW + places).clamp(max=places - 1)]
    return torch.where(token_BW[..., None] < 0, old_BWC, new_BWC).transpose(1, 2)


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


def _gates(layer: Any, decay_input: torch.Tensor, beta_input: torch.Tensor) -> Any:
    from model_adapters.kernels.gated_delta.arguments import RawGates

    return RawGates(
        decay_input=decay_input,
        beta_input=beta_input,
        decay_rate_log=layer.A_log,
        decay_bias=layer.dt_bias,
        beta_scale=2.0 if getattr(layer, "allow_neg_eigval", False) else 1.0,
    )
