"""Compare the Triton kernels of the gated delta rule with their references on this device, at a model's own sizes.

The trial runs before the kernels are used, because compiled kernels differ between compiler versions and GPUs.
"""

from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from model_adapters.engine.fast_modules.gated_delta_net import fast_forward
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.memory.passes import Pass, TokenPass, running
from model_adapters.engine.memory.rows import Row
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transformers_cache import CacheView
from model_adapters.kernels.kernel_cache import checked_once, described
from model_adapters.kernels.trial import LAYER_TOLERANCE, random_sample, trial
from model_adapters.module_patches import patches_of

TOKENS = (130, 67)
"""Lengths of two segments that end inside a chunk; one more token is decoded after them."""

RULE_TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 1e-2}

Parts = tuple[torch.Tensor, ...]
"""Outputs of the segments, compared separately: one wrong token would not show among hundreds."""


def find_fault(model: PreTrainedModel, layer: Any) -> str | None:
    """Return what is wrong with the kernels for a model, in one line, or None if they agree with the references."""
    sizes = {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
    shape = described(layer), model.dtype, layer.head_k_dim, layer.head_v_dim, sizes
    return checked_once(layer.A_log.device, "gated delta rule", shape, lambda: _find_fault(model, layer))


def _find_fault(model: PreTrainedModel, layer: Any) -> str | None:
    dtype, device = model.dtype, layer.A_log.device
    x_1TD = random_sample((1, sum(TOKENS) + 1, layer.hidden_size), device, dtype, seed=1)
    rule = trial(_rule, _rule_by_reference, [_rule_sample(layer, dtype)], dtype, tolerance=RULE_TOLERANCE)
    if rule is not None:
        return f"the rule {rule}"
    with patches_of(model).off():
        layers = partial(_layer, model, layer), partial(_layer_itself, layer)
        found = trial(*layers, [(x_1TD,)], dtype, tolerance=LAYER_TOLERANCE)
    return None if found is None else f"a layer {found}"


def _rule_sample(layer: Any, dtype: torch.dtype) -> tuple[Parts, dict[str, torch.Tensor], torch.Tensor]:
    """Queries, keys and values as views of one tensor, gates with almost no decay, and a state."""
    device, heads, tokens = layer.A_log.device, layer.num_v_heads, sum(TOKENS)
    mixed_BTC = random_sample((1, tokens, 2 * layer.key_dim + layer.value_dim), device, dtype)
    parts = torch.split(mixed_BTC, [layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
    sizes = (layer.head_k_dim, layer.head_k_dim, layer.head_v_dim)
    decay, beta = (random_sample((1, tokens, heads), device, torch.float32, seed=seed) for seed in (1, 2))
    gates = {"log_decay_BTH": -0.02 * decay.abs(), "beta_BTH": 2 * torch.sigmoid(2 * beta)}
    state = random_sample((1, heads, layer.head_k_dim, layer.head_v_dim), device, torch.float32, seed=3)
    return tuple(part.view(1, tokens, -1, size) for part, size in zip(parts, sizes, strict=True)), gates, state


def _rule(qkv: Parts, gates: dict[str, torch.Tensor], state_BHKV: torch.Tensor) -> Parts:
    """The kernel's output for each segment, and the final state."""
    from model_adapters.kernels.gated_delta.triton_prefill import prefill_gated_delta_rule

    outs, start = [], 0
    for count in TOKENS:
        here = slice(start, start + count)
        q, k, v = (x[:, here] for x in qkv)
        out, state_BHKV = prefill_gated_delta_rule(
            q,
            k,
            v,
            **{name: gate[:, here] for name, gate in gates.items()},  # type: ignore[arg-type]
            initial_state_BHKV=state_BHKV,
            out_BTHV=torch.full_like(v.contiguous(), torch.nan),
        )
        outs.append(out)
        start += count
    return *outs, state_BHKV


def _rule_by_reference(qkv: Parts, gates: dict[str, torch.Tensor], state_BHKV: torch.Tensor) -> Parts:
    from model_adapters.kernels.gated_delta.reference import chunk_gated_delta_rule

    q, k, v = (x.float() for x in qkv)
    out_BTHV, state = chunk_gated_delta_rule(q, k, v, **gates, initial_state_BHKV=state_BHKV)  # type: ignore[arg-type]
    return *torch.split(out_BTHV.to(qkv[2].dtype), list(TOKENS), dim=1), state


def _layer(model: PreTrainedModel, layer: Any, x_1TD: torch.Tensor) -> Parts:
    """One layer's outputs with the kernels, for two segments and one decoded token."""
    tokens = x_1TD.shape[1]
    cache = SlottedCache(MemoryLayout.unmeasured(model.config), slots=2, max_tokens=tokens, device=x_1TD.device)
    forward, outs = fast_forward(layer), []

    def run(step: Pass, part_1TD: torch.Tensor) -> None:
        with running(step):
            outs.append(forward(part_1TD, CacheView(step)))
        step.advance()

    for start, stop in ((0, TOKENS[0]), (TOKENS[0], tokens - 1)):
        run(Pass(cache, [Row(0, start, stop - start)]), x_1TD[:, start:stop])
    run(TokenPass(cache, 1, tokens), x_1TD[:, -1:])
    return tuple(outs)


def _layer_itself(layer: Any, x_1TD: torch.Tensor) -> Parts:
    out_1TD: torch.Tensor = type(layer).forward(layer, x_1TD)
    return torch.split(out_1TD, [*TOKENS, 1], dim=1)
