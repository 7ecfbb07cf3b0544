"""Differentiable replacements of slow parts of transformers' models, for training only.

The functions compute what transformers' own do: the depthwise convolution as four shifted products (the library
form's backward pass is slow), the gated delta rule in the chunked form of our kernels' reference, and sliding
windows block by block instead of through a T × T mask.

Shapes: B sequences, T tokens, H heads, D head size, C channels, K convolution taps, W window.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.models.olmo_hybrid import modeling_olmo_hybrid

from model_adapters.kernels.gated_delta import reference as gated_delta

ATTENTION = "evalkit_training"


def install(model: PreTrainedModel) -> None:
    """Let `model` train through these functions; on a GPU its elementwise modules are compiled as well."""
    global _conv_silu
    AttentionInterface.register(ATTENTION, _attention)
    model.config._attn_implementation = ATTENTION
    modeling_olmo_hybrid.causal_conv1d_fn = _causal_conv1d
    modeling_olmo_hybrid.torch_chunk_gated_delta_rule = _gated_delta_rule
    if model.device.type != "cuda":
        return
    # Shapes change with the curriculum: one dynamic compilation serves all of them.
    _conv_silu = torch.compile(_conv_silu_eager, dynamic=True)
    for module in model.modules():
        if type(module).__name__.endswith(("MLP", "RMSNorm", "RMSNormGated")):
            module.compile(dynamic=True)


def masks() -> dict[str, None]:
    """The masks of a forward pass: none, because `_attention` knows causality and windows itself."""
    return {"full_attention": None, "sliding_attention": None, "linear_attention": None}


def _conv_silu_eager(hidden_BCT: Tensor, weight_CK: Tensor) -> Tensor:
    taps, tokens = weight_CK.shape[1], hidden_BCT.shape[2]
    padded = F.pad(hidden_BCT, (taps - 1, 0))
    total = padded[:, :, :tokens] * weight_CK[:, 0, None]
    for tap in range(1, taps):
        total = total + padded[:, :, tap : tap + tokens] * weight_CK[:, tap, None]
    return F.silu(total)


_conv_silu = _conv_silu_eager


def _causal_conv1d(
    hidden_states: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None, **_: Any
) -> Tensor:
    if bias is not None or activation != "silu":
        raise ValueError(f"only SiLU without bias is trained here, not {activation} with bias {bias is not None}")
    return _conv_silu(hidden_states, weight.to(hidden_states.dtype))


def _gated_delta_rule(
    query: Tensor, key: Tensor, value: Tensor, *, g: Tensor, beta: Tensor, **_: Any
) -> tuple[Tensor, Tensor]:
    with torch.autocast(query.device.type, enabled=False):
        out_BTHV, state_BHKV = gated_delta.chunk_gated_delta_rule(
            query.float(), key.float(), value.float(), log_decay_BTH=g.float(), beta_BTH=beta.float()
        )
    return out_BTHV.to(value.dtype), state_BHKV


def _attention(
    module: nn.Module,  # noqa: ARG001  # the interface's signature
    query_BHTD: Tensor,
    key_BHTD: Tensor,
    value_BHTD: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001  # the interface's signature
    *,
    scaling: float,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    tokens = query_BHTD.shape[2]
    value_BHTD = value_BHTD.to(query_BHTD.dtype)
    if sliding_window is None or sliding_window >= tokens:
        out_BHTD = F.scaled_dot_product_attention(query_BHTD, key_BHTD, value_BHTD, is_causal=True, scale=scaling)
    else:
        out_BHTD = _windowed(query_BHTD, key_BHTD, value_BHTD, window=sliding_window, scaling=scaling)
    return out_BHTD.transpose(1, 2), None


def _windowed(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, *, window: int, scaling: float) -> Tensor:
    """Each query sees itself and the `window` - 1 keys before it; T is a multiple of the window."""
    batch, heads, tokens, size = q_BHTD.shape
    if tokens % window:
        raise ValueError(f"{tokens} tokens are no multiple of the window of {window}")
    blocks = tokens // window

    def with_previous(x_BHTD: Tensor) -> Tensor:
        x = x_BHTD.reshape(batch, heads, blocks, window, size)
        before = F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1]
        return torch.cat([before, x], dim=3).transpose(1, 2).reshape(batch * blocks, heads, 2 * window, size)

    q = q_BHTD.reshape(batch, heads, blocks, window, size).transpose(1, 2).reshape(batch * blocks, heads, window, size)
    row = torch.arange(window, device=q.device)[:, None] + window
    column = torch.arange(2 * window, device=q.device)[None, :]
    seen = (column <= row) & (column > row - window)
    # The first block has nothing before it: the padding there must not be seen.
    first = torch.arange(batch * blocks, device=q.device) % blocks == 0
    mask = seen & ~(first[:, None, None, None] & (column < window))
    out = F.scaled_dot_product_attention(q, with_previous(k_BHTD), with_previous(v_BHTD), attn_mask=mask, scale=scaling)
    out = out.reshape(batch, blocks, heads, window, size).transpose(1, 2)
    return out.reshape(batch, heads, tokens, size)
