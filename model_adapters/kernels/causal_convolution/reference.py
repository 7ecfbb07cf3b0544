"""Depthwise causal convolution and SiLU in plain PyTorch, from a left context to a new one.

Shape suffixes: B sequences, T tokens, C channels, W places of the context = kernel size.
"""

import torch
import torch.nn.functional as F


def causal_convolution(
    x_BTC: torch.Tensor, weight_CW: torch.Tensor, bias_C: torch.Tensor | None, context_BCW: torch.Tensor
) -> torch.Tensor:
    """silu(sum_w weight[c, w] x[t - W + 1 + w, c] + bias[c]) in x's dtype, summed in fp32 (fp64 for fp64).

    `context_BCW` holds the last W inputs before these, and is updated in place; zeros if there are none.
    """
    wide = torch.float64 if x_BTC.dtype == torch.float64 else torch.float32
    seen_BCT = torch.cat([context_BCW.to(x_BTC.dtype), x_BTC.transpose(1, 2)], dim=-1)
    bias = None if bias_C is None else bias_C.to(wide)
    # The context has one place more than a convolution of the first token needs.
    out_BCT = F.conv1d(seen_BCT[..., 1:].to(wide), weight_CW[:, None].to(wide), bias, groups=x_BTC.shape[2])
    context_BCW.copy_(seen_BCT[..., -context_BCW.shape[-1] :])
    return F.silu(out_BCT).transpose(1, 2).to(x_BTC.dtype)
