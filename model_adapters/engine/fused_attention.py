"""PyTorch's fused attention kernels with their log-sum-exp, used where they agree with the reference.

Shape suffixes as in kernels/chunked_attention: B sequences, H query heads, G key/value heads, T queries, S keys,
D key size, E value size.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch

from model_adapters.kernels.chunked_attention.reference import Attended, chunked_attention

FusedAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool, float], Attended]
"""(q_BHTD, k_BGSD, v_BGSE, causal, scale) -> attention; `causal` only with T = S."""


class AttentionShape(NamedTuple):
    """What decides whether a fused kernel applies."""

    device_type: str
    dtype: torch.dtype
    heads: int
    kv_heads: int
    key_size: int
    value_size: int


class FusedKernel(NamedTuple):
    """A fused kernel and the name by which records call it."""

    name: str
    attend: FusedAttention


def _cpu_flash(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q_BHTD, k_BGSD, v_BGSE, 0.0, causal, scale=scale
    )
    return out, lse


def _cuda_cudnn(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    found = torch.ops.aten._scaled_dot_product_cudnn_attention(
        q_BHTD, k_BGSD, v_BGSE, None, True, 0.0, causal, False, scale=scale
    )
    return found[0], found[1].reshape(q_BHTD.shape[:-1])


def _cuda_flash(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    found = torch.ops.aten._scaled_dot_product_flash_attention(q_BHTD, k_BGSD, v_BGSE, 0.0, causal, False, scale=scale)
    return found[0], found[1]


def _cuda_efficient(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    groups = q_BHTD.shape[1] // k_BGSD.shape[1]
    k_BHSD, v_BHSE = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (k_BGSD, v_BGSE))
    found = torch.ops.aten._scaled_dot_product_efficient_attention(
        q_BHTD, k_BHSD, v_BHSE, None, True, 0.0, causal, scale=scale
    )
    # The kernel rounds the log-sum-exp's length up to a multiple of 32.
    return found[0], found[1][..., : q_BHTD.shape[2]]


_KERNELS: dict[str, tuple[FusedKernel, ...]] = {
    "cpu": (FusedKernel("flash (CPU)", _cpu_flash),),
    "cuda": (
        FusedKernel("cuDNN", _cuda_cudnn),
        FusedKernel("flash", _cuda_flash),
        FusedKernel("memory-efficient", _cuda_efficient),
    ),
}
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}


@lru_cache(maxsize=64)
def find_fused(shape: AttentionShape) -> tuple[FusedKernel, ...]:
    """The fused kernels that run on this shape and agree with the reference, fastest first; perhaps none.

    Each is tried once a process on small tensors, because what PyTorch builds support differs by version and card.
    """
    return tuple(kernel for kernel in _KERNELS.get(shape.device_type, ()) if _agrees(kernel, shape))


def _agrees(kernel: FusedKernel, shape: AttentionShape) -> bool:
    generator = torch.Generator().manual_seed(0)
    tolerance = _TOLERANCE.get(shape.dtype, 0.0)
    for queries, keys, causal in ((7, 7, True), (128, 128, True), (7, 130, False), (128, 256, False)):
        q, k, v = (
            torch.randn(1, heads, length, size, generator=generator).to(shape.device_type, shape.dtype)
            for heads, length, size in (
                (shape.heads, queries, shape.key_size),
                (shape.kv_heads, keys, shape.key_size),
                (shape.kv_heads, keys, shape.value_size),
            )
        )
        scale = shape.key_size**-0.5
        try:
            found = kernel.attend(q, k, v, causal, scale)
        except (RuntimeError, NotImplementedError, ValueError):
            # The kernel refuses this shape, device or dtype: the next one is tried.
            return False
        expected = chunked_attention(q, k, v, query_offset=0 if causal else keys, scale=scale)
        if any(
            not torch.allclose(a.float(), b.float(), atol=tolerance, rtol=tolerance)
            for a, b in zip(found, expected, strict=True)
        ):
            return False
    return True
