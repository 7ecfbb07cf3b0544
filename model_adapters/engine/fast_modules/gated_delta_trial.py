"""Whether the Triton kernels of the gated delta rule are right on this device, at a model's own sizes.

Tried before they are used, since what a compiler makes of a kernel differs by its version and by the card.
"""

from typing import Any

import torch
from transformers import PreTrainedModel

from model_adapters.engine.fast_modules.gated_delta_net import fast_forward
from model_adapters.engine.fast_modules.patches import patches_of
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.memory.passes import CacheStep, DecodeStep, PrefillStep, running
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transformers_cache import CacheView
from model_adapters.kernels.trial import gap
from model_adapters.messages import first_line

TOKENS = (130, 67)
"""Two segments that end within a chunk; one more token is decoded."""
_RULE_TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 1e-2}
_LAYER_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 4e-2}


@torch.no_grad()
def find_fault(model: PreTrainedModel, layer: Any) -> str | None:
    """What is wrong with the kernels for a model, in one line; None where they agree with the references."""
    dtype = model.dtype
    if dtype not in _RULE_TOLERANCE:
        return f"they take bf16, fp16 and fp32, and the model is {dtype}"
    try:
        gaps = {"the rule": (_rule_gap(layer, dtype), _RULE_TOLERANCE[dtype])}
        gaps["a layer"] = (_layer_gap(model, layer), _LAYER_TOLERANCE[dtype])
    except Exception as error:  # noqa: BLE001 - whatever a kernel or its compiler raises, PyTorch's operators remain
        return f"they do not run here ({type(error).__name__}: {first_line(error)})"
    for name, (found, tolerance) in gaps.items():
        # Written so that NaN is a fault too.
        if not found <= tolerance:
            return f"{name} is off by {found:.1e} of its size, more than {tolerance:.0e}"
    return None


def _rule_gap(layer: Any, dtype: torch.dtype) -> float:
    """The largest relative error against the chunked reference, over two segments and with hardly any decay."""
    from model_adapters.kernels.gated_delta.reference import chunk_gated_delta_rule
    from model_adapters.kernels.gated_delta.triton_prefill import prefill_gated_delta_rule

    device = layer.A_log.device
    tokens, generator = sum(TOKENS), torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    mixed_BTC = normal(1, tokens, 2 * layer.key_dim + layer.value_dim).to(dtype)
    q, k, v = torch.split(mixed_BTC, [layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
    qkv = [
        part.view(1, tokens, -1, size)
        for part, size in ((q, layer.head_k_dim), (k, layer.head_k_dim), (v, layer.head_v_dim))
    ]
    heads = layer.num_v_heads
    gates = {
        "log_decay_BTH": -0.02 * normal(1, tokens, heads).abs(),
        "beta_BTH": 2 * torch.sigmoid(2 * normal(1, tokens, heads)),
    }
    state = normal(1, heads, layer.head_k_dim, layer.head_v_dim)
    expected = chunk_gated_delta_rule(*(x.float() for x in qkv), **gates, initial_state_BHKV=state)  # type: ignore[arg-type]
    outs, start = [], 0
    for count in TOKENS:
        here = slice(start, start + count)
        parts = [x[:, here] for x in qkv]
        out, state = prefill_gated_delta_rule(
            *parts,
            **{name: gate[:, here] for name, gate in gates.items()},  # type: ignore[arg-type]
            initial_state_BHKV=state,
            out_BTHV=torch.full_like(parts[2].contiguous(), torch.nan),
        )
        outs.append(out)
        start += count
    return max(gap(torch.cat(outs, dim=1), expected[0]), gap(state, expected[1]))


def _layer_gap(model: PreTrainedModel, layer: Any) -> float:
    """The largest relative error of one layer in two segments and a decoded token against its own code in one pass."""
    tokens = sum(TOKENS) + 1
    generator = torch.Generator().manual_seed(1)
    x_1TD = torch.randn((1, tokens, layer.hidden_size), generator=generator).to(layer.A_log.device, model.dtype)
    with patches_of(model).off():
        expected = type(layer).forward(layer, x_1TD)
        layout = MemoryLayout.unmeasured(model.config)
        cache = SlottedCache(layout, slots=2, max_tokens=tokens, device=x_1TD.device)
        forward, outs = fast_forward(layer), []

        def run(step: CacheStep, part_1TD: torch.Tensor) -> None:
            with running(step):
                outs.append(forward(part_1TD, CacheView(step)))

        for start, stop in ((0, TOKENS[0]), (TOKENS[0], tokens - 1)):
            run(PrefillStep(cache, 0), x_1TD[:, start:stop])
            cache.advance_slot(0, stop - start)
        run(DecodeStep(cache, 1, tokens), x_1TD[:, -1:])
    # Each part by itself: one wrong token would not show among hundreds.
    parts = zip(outs, expected.split([out.shape[1] for out in outs], dim=1), strict=True)
    return max(gap(out, truth) for out, truth in parts)
