"""The attention function that transformers' modules call: causality, offsets and windows come from the cache step.

Registering it without a mask function makes transformers build no mask at all, whatever the layer types.

Shape suffixes: B sequences, H query heads, G key/value heads, T queries, S keys, D key size, E value size.
"""

from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.engine.cache_step import DecodeStep, PrefillStep
from model_adapters.engine.fused_attention import AttentionShape, FusedKernel, find_fused
from model_adapters.kernels.chunked_attention.reference import chunked_attention, merge_attention

NAME = "evalkit_slots"
STEP = "slot_step"
"""Name under which a model's forward passes the cache step on to its attention layers."""

# Arguments of transformers' attention functions that change the result and that this one does not compute.
_REFUSED = ("softcap", "s_aux", "position_bias", "cu_seq_lens_q", "cu_seq_lens_k")

WINDOW_BLOCK_TOKENS = 512
"""Queries of a sliding-window layer that go through one masked call."""


def use_slot_attention(model: PreTrainedModel) -> None:
    """Make a model's attention layers call `slot_attention`; raises UsageError where they do not ask which to call."""
    AttentionInterface.register(NAME, slot_attention)
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation != NAME:
        raise UsageError(
            f"{type(model).__name__} does not take its attention from transformers' AttentionInterface, "
            "so the engine cannot run it; use a model class that does"
        )


def slot_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of new tokens over what the cache returned for them: query [B, H, T, D] to output [B, T, H, E].

    Raises RuntimeError when called outside the engine, and UsageError for a model whose attention has terms that
    are not computed here.
    """
    step = kwargs.get(STEP)
    if not isinstance(step, PrefillStep | DecodeStep) or attention_mask is not None:
        raise RuntimeError(f"attention {NAME!r} works only inside the engine; load the model again for other uses")
    for name in _REFUSED:
        if kwargs.get(name) is not None:
            raise UsageError(f"attention with {name} ({type(module).__name__}) is not supported by the engine")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if isinstance(step, DecodeStep):
        out_BHTE = decode_attention(query, key, value, position_B=step.position_B, scale=scale)
        return out_BHTE.transpose(1, 2).contiguous(), None
    layer_index = int(module.layer_idx)  # type: ignore[arg-type]  # an int on every module
    # Nothing reads the last layer's output but the logits: elsewhere it only has to leave its keys and values.
    needed = step.output_tokens if layer_index == len(step.cache.kinds) - 1 else query.shape[2]
    window = step.cache.layer_window(layer_index)
    out_BTHE = query.new_zeros((query.shape[0], query.shape[2], query.shape[1], value.shape[3]))
    if needed:
        out_BHTE = prefill_attention(query[:, :, -needed:], key, value, window=window, scale=scale)
        out_BTHE[:, -needed:] = out_BHTE.transpose(1, 2)
    return out_BTHE, None


def prefill_attention(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, *, window: int | None, scale: float
) -> torch.Tensor:
    """Causal attention of the last T of S positions: [B, H, T, E].

    Without a window in reach, one fused call covers the cached keys and another the segment itself; they are merged
    by log-sum-exp.
    """
    T, S = q_BHTD.shape[2], k_BGSD.shape[2]
    if window is not None and window < S:
        return _windowed(q_BHTD, k_BGSD, v_BGSE, window, scale)
    kernel = _kernel_for(q_BHTD, k_BGSD, v_BGSE)
    if kernel is None:
        return chunked_attention(q_BHTD, k_BGSD, v_BGSE, query_offset=S - T, scale=scale)[0]
    old = S - T
    segment = kernel.attend(q_BHTD, k_BGSD[:, :, old:], v_BGSE[:, :, old:], True, scale)
    if old == 0:
        return segment[0]
    cached = kernel.attend(q_BHTD, k_BGSD[:, :, :old], v_BGSE[:, :, :old], False, scale)
    return merge_attention(cached, segment)[0]


def decode_attention(
    q_BH1D: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, *, position_B: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of one token a sequence over the S leading places of its slot: [B, H, 1, E].

    Place p counts where p <= the token's position; in the ring of a sliding window that is every place once the
    window is full.
    """
    visible_BS = torch.arange(k_BGSD.shape[2], device=q_BH1D.device) <= position_B[:, None]
    groups = q_BH1D.shape[1] // k_BGSD.shape[1]
    # Query heads that share keys become queries of one head, so that no key is repeated.
    q_BGRD = q_BH1D.reshape(q_BH1D.shape[0], k_BGSD.shape[1], groups, -1)
    out_BGRE = F.scaled_dot_product_attention(q_BGRD, k_BGSD, v_BGSE, visible_BS[:, None, None], scale=scale)
    return out_BGRE.reshape(*q_BH1D.shape[:3], -1)


def _kernel_for(q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor) -> FusedKernel | None:
    shape = AttentionShape(
        q_BHTD.device.type, q_BHTD.dtype, q_BHTD.shape[1], k_BGSD.shape[1], k_BGSD.shape[3], v_BGSE.shape[3]
    )
    kernels = find_fused(shape)
    return kernels[0] if kernels else None


def _windowed(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, window: int, scale: float
) -> torch.Tensor:
    """Sliding-window attention in blocks of queries, each over the keys that its window can reach."""
    T, S = q_BHTD.shape[2], k_BGSD.shape[2]
    outs = []
    for start in range(0, T, WINDOW_BLOCK_TOKENS):
        stop = min(start + WINDOW_BLOCK_TOKENS, T)
        first, last = S - T + start, S - T + stop
        low = max(0, first - window + 1)
        query_T1 = torch.arange(first, last, device=q_BHTD.device)[:, None]
        key_S = torch.arange(low, last, device=q_BHTD.device)
        visible_TS = (key_S <= query_T1) & (key_S > query_T1 - window)
        outs.append(
            F.scaled_dot_product_attention(
                q_BHTD[:, :, start:stop],
                k_BGSD[:, :, low:last],
                v_BGSE[:, :, low:last],
                visible_TS,
                scale=scale,
                enable_gqa=q_BHTD.shape[1] != k_BGSD.shape[1],
            )
        )
    return torch.cat(outs, dim=2)
