"""Attention of one new token per sequence: a Triton kernel that reads lengths on the device, or PyTorch with a mask.

Shape suffixes: B sequences, H query heads, G key/value heads, S keys, D key size, E value size.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from model_adapters.engine.forward.scoring import Scoring
from model_adapters.engine.memory.layout import AttentionShape
from model_adapters.kernels.compiling import verdicts_kept
from model_adapters.kernels.kernel_cache import checked_once
from model_adapters.kernels.trial import ATTENTION_TOLERANCE, random_sample, trial

DecodeKernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
"""(q_BHD, k_BGSD, v_BGSE, key_counts_B, scale) -> out_BHE."""

MASKED_BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""All backends except cuDNN, which plans for seconds for each new number of sequences or keys. (Flash is used on CPUs
only: on a GPU it does not accept a mask.)"""
SAMPLE_KEYS = 300
SAMPLE_COUNTS = (1, 150, 300)


def decode_attention(
    q_BH1D: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, *, key_counts_B: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of one token per sequence over the first S places of its slot: [B, H, 1, E].

    The first `key_counts_B` places are visible, the token's own included; all of them if the count exceeds S, as in the
    ring of a sliding window.
    """
    kernel = find_decode_kernel(AttentionShape.of(q_BH1D, k_BGSD, v_BGSE))
    if kernel is None:
        return masked_attention(q_BH1D, k_BGSD, v_BGSE, key_counts_B=key_counts_B, scale=scale)
    return kernel(q_BH1D[:, :, 0], k_BGSD, v_BGSE, key_counts_B, scale)[:, :, None]


def masked_attention(
    q_BH1D: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, *, key_counts_B: torch.Tensor, scale: float
) -> torch.Tensor:
    """The same with PyTorch's attention, on any device."""
    visible_BS = torch.arange(k_BGSD.shape[2], device=q_BH1D.device) < key_counts_B[:, None]
    groups = q_BH1D.shape[1] // k_BGSD.shape[1]
    # Query heads that share keys become several queries of one head, so that keys are not repeated.
    q_BGRD = q_BH1D.reshape(q_BH1D.shape[0], k_BGSD.shape[1], groups, -1)
    with sdpa_kernel(MASKED_BACKENDS):
        out_BGRE = F.scaled_dot_product_attention(q_BGRD, k_BGSD, v_BGSE, visible_BS[:, None, None], scale=scale)
    return out_BGRE.reshape(*q_BH1D.shape[:3], -1)


def scored_decode_attention(
    q_BH1D: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, *, key_counts_B: torch.Tensor, scoring: Scoring
) -> torch.Tensor:
    """The same with capped scores or sinks, computed in fp32."""
    B, G, S, _ = k_BGSD.shape
    q_BGRD = q_BH1D.reshape(B, G, -1, q_BH1D.shape[-1]).float() * scoring.scale
    score_BGRS = scoring.capped(q_BGRD @ k_BGSD.float().transpose(-1, -2))
    visible_BS = torch.arange(S, device=q_BH1D.device) < key_counts_B[:, None]
    score_BGRS = score_BGRS.masked_fill(~visible_BS[:, None, None], float("-inf"))
    out_BGRE = score_BGRS.softmax(-1) @ v_BGSE.float()
    out_BH1E = out_BGRE.reshape(*q_BH1D.shape[:3], -1)
    return scoring.with_sinks(out_BH1E, score_BGRS.logsumexp(-1).reshape(q_BH1D.shape[:3])).to(q_BH1D.dtype)


@verdicts_kept(maxsize=64)
def find_decode_kernel(shape: AttentionShape) -> DecodeKernel | None:
    """The Triton kernel if it runs on this GPU and is correct for this shape; tested once per process."""
    if shape.device.type != "cuda":
        return None
    try:
        from model_adapters.kernels.chunked_attention import triton_decode
    except ImportError:
        return None  # Triton exists on Linux only

    def kernel(
        q_BHD: torch.Tensor,
        k_BGSD: torch.Tensor,
        v_BGSE: torch.Tensor,
        key_counts_B: torch.Tensor,
        scale: float,
        launch: triton_decode.DecodeAttentionLaunch | None = None,
    ) -> torch.Tensor:
        out, _ = triton_decode.decode_attention(
            q_BHD, k_BGSD, v_BGSE, key_counts_B=key_counts_B, scale=scale, launch=launch
        )
        return out

    # The sample is split; with more sequences there are few parts, merged in another way, and with many only one.
    chosen = triton_decode.choose_decode_attention_launch(
        sequences=len(SAMPLE_COUNTS),
        key_heads=shape.kv_heads,
        head_size=max(shape.key_size, shape.value_size),
        dtype=shape.dtype,
        device=shape.device,
    )
    launches = [replace(chosen, splits=splits) for splits in (chosen.splits, 2, 1)]
    verdict = checked_once(
        shape.device,
        "decode attention",
        shape[1:],
        lambda: next(filter(None, (decode_trial(partial(kernel, launch=one), shape) for one in launches)), None),
    )
    return kernel if verdict is None else None


def decode_trial(kernel: DecodeKernel, shape: AttentionShape) -> str | None:
    """Compare a kernel with attention in fp32, with NaN at invisible places; returns why they differ, or None."""

    def reference(
        q_BHD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, counts_B: torch.Tensor, scale: float
    ) -> torch.Tensor:
        q_BH1D, k, v = q_BHD.float()[:, :, None], k_BGSD.float().nan_to_num(), v_BGSE.float().nan_to_num()
        return masked_attention(q_BH1D, k, v, key_counts_B=counts_B, scale=scale)[:, :, 0].to(q_BHD.dtype)

    rows = len(SAMPLE_COUNTS)
    sizes = (
        (rows, shape.heads, shape.key_size),
        (rows, shape.kv_heads, SAMPLE_KEYS, shape.key_size),
        (rows, shape.kv_heads, SAMPLE_KEYS, shape.value_size),
    )
    q, k, v = (random_sample(size, shape.device, shape.dtype, seed=seed) for seed, size in enumerate(sizes))
    for row, count in enumerate(SAMPLE_COUNTS):
        k[row, :, count:] = v[row, :, count:] = torch.nan
    counts_B = torch.tensor(SAMPLE_COUNTS, device=shape.device)
    return trial(
        kernel, reference, [(q, k, v, counts_B, shape.key_size**-0.5)], shape.dtype, tolerance=ATTENTION_TOLERANCE
    )
