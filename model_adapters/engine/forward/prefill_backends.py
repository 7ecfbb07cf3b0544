"""Fused attention kernels with their log-sum-exp, used if they agree with the reference.

PyTorch's own are called directly: no public function returns the log-sum-exp of cuDNN, of memory-efficient attention or
of the CPU's kernel, and the public one of FlashAttention 2 takes up to seven times as long for few queries.

Shape suffixes as in kernels/chunked_attention: B sequences, H query heads, G key/value heads, T queries, S keys,
D key size, E value size.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from model_adapters.engine.forward.flash_attention_3 import (
    flash_attention_3,
    runs_flash_attention_3,
    windowed_flash_attention_3,
)
from model_adapters.engine.memory.key_value_buffer import KeysValues, behind
from model_adapters.engine.memory.layout import AttentionShape
from model_adapters.kernels.chunked_attention.reference import Attended, chunked_attention, merge_attention
from model_adapters.kernels.compiling import verdicts_kept
from model_adapters.kernels.kernel_cache import checked_once
from model_adapters.kernels.trial import ATTENTION_TOLERANCE, random_sample, trial

FusedAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool, float], Attended]
"""(q_BHTD, k_BGSD, v_BGSE, causal, scale) -> attention; `causal` requires T = S."""
WindowedAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int, float, KeysValues | None], torch.Tensor]
"""(q_BHTD, k_BGSD, v_BGSE, window, scale, keys and values before those or None) -> out_BHTE; the queries belong to the
last T positions."""


class FusedKernel(NamedTuple):
    """A fused kernel and its name in records."""

    name: str
    attend: FusedAttention
    plans_lengths: bool = False
    """Whether the first call with a pair of lengths is slow, so that the kernel only suits lengths that recur."""
    segments_only: bool = False
    """Whether another kernel is faster for few queries."""


class WindowedKernel(NamedTuple):
    """A fused sliding-window kernel and its name."""

    name: str
    attend: WindowedAttention


def _cpu_flash(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q_BHTD, k_BGSD, v_BGSE, 0.0, causal, scale=scale
    )
    return out, lse


def attend_with_cudnn(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    """Attention by cuDNN, `(out_BHTE, lse_BHT)`; raises RuntimeError where it has no kernel for these tensors."""
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
    # The kernel pads the log-sum-exp to a multiple of 32.
    return found[0], found[1][..., : q_BHTD.shape[2]]


def _cuda_flash_window(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    window: int,
    scale: float,
    before: KeysValues | None,
) -> torch.Tensor:
    k_BGSD, v_BGSE = behind(before, k_BGSD, v_BGSE)
    # Called directly, because scaled_dot_product_attention has no windows; causality is aligned to the last key.
    q_BTHD, k_BSGD, v_BSGE = (x.transpose(1, 2) for x in (q_BHTD, k_BGSD, v_BGSE))
    queries, keys = q_BTHD.shape[1], k_BSGD.shape[1]
    found = torch.ops.aten._flash_attention_forward(
        q_BTHD,
        k_BSGD,
        v_BSGE,
        None,
        None,
        queries,
        keys,
        0.0,
        True,
        False,
        scale=scale,
        window_size_left=window - 1,
        window_size_right=0,
    )
    out_BHTE: torch.Tensor = found[0].transpose(1, 2)
    return out_BHTE


def _cuda_triton(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    from model_adapters.kernels.chunked_attention.triton_prefill import prefill_attention

    # With a query offset behind all keys, every query sees every key.
    offset = 0 if causal else k_BGSD.shape[2]
    return prefill_attention(q_BHTD, k_BGSD, v_BGSE, query_offset=offset, scale=scale)


def _cuda_triton_window(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    window: int,
    scale: float,
    before: KeysValues | None,
) -> torch.Tensor:
    from model_adapters.kernels.chunked_attention.triton_prefill import BEFORE_MULTIPLE, prefill_attention

    if before is not None and before[0].shape[2] % BEFORE_MULTIPLE:
        k_BGSD, v_BGSE = behind(before, k_BGSD, v_BGSE)
        before = None
    offset = k_BGSD.shape[2] - q_BHTD.shape[2] + (0 if before is None else before[0].shape[2])
    return prefill_attention(q_BHTD, k_BGSD, v_BGSE, query_offset=offset, window=window, scale=scale, before=before)[0]


_KERNELS: dict[str, tuple[FusedKernel, ...]] = {
    "cpu": (FusedKernel("flash (CPU)", _cpu_flash),),
    "cuda": (
        FusedKernel("cuDNN", attend_with_cudnn, plans_lengths=True),
        FusedKernel("flash", _cuda_flash),
        FusedKernel("memory-efficient", _cuda_efficient),
    ),
}
_FALLBACKS: dict[str, tuple[FusedKernel, ...]] = {"cuda": (FusedKernel("Triton", _cuda_triton),)}
"""Tried only if none of the others applies, because trying one means compiling it."""
_WINDOWED: dict[str, tuple[WindowedKernel, ...]] = {
    "cuda": (WindowedKernel("Triton", _cuda_triton_window), WindowedKernel("flash", _cuda_flash_window))
}
"""Triton takes 1.3 ms for 30 heads where flash takes 2.0 ms (8,192 queries, a window of 4,096, H200)."""
_FLASH_3 = FusedKernel("FlashAttention 3", flash_attention_3, segments_only=True)
_WINDOWED_FLASH_3 = WindowedKernel("FlashAttention 3", windowed_flash_attention_3)


@verdicts_kept(maxsize=64)
def find_fused(shape: AttentionShape) -> tuple[FusedKernel, ...]:
    """The fused kernels that support this shape and agree with the reference, fastest first; may be empty.

    Each is tested once per process on small tensors, because PyTorch's support differs by version and GPU.
    """
    kernels = _KERNELS.get(shape.device.type, ())
    if runs_flash_attention_3(shape.device):
        kernels = _FLASH_3, *kernels
    fitting = tuple(kernel for kernel in kernels if _fused_agrees(kernel, shape))
    return fitting or tuple(kernel for kernel in _FALLBACKS.get(shape.device.type, ()) if _fused_agrees(kernel, shape))


@verdicts_kept(maxsize=64)
def find_windowed(shape: AttentionShape, segment: bool) -> WindowedKernel | None:
    """The first fused sliding-window kernel that supports this shape and agrees with the reference.

    `segment` says whether there are many queries.
    """
    kernels = _WINDOWED.get(shape.device.type, ())
    if segment and runs_flash_attention_3(shape.device):
        kernels = _WINDOWED_FLASH_3, *kernels
    return next((kernel for kernel in kernels if _windowed_agrees(kernel, shape)), None)


def merge_outputs(first: Attended, second: Attended) -> torch.Tensor:
    """Merge attention over two disjoint sets of keys into the output over both, [B, H, T, E]."""
    if first[0].device.type == "cuda" and _merge_agrees(first[0].device, first[0].dtype, first[0].shape[3]):
        return _triton_merge(*first, *second)
    return merge_attention(first, second)[0]


def _triton_merge(*sides: torch.Tensor) -> torch.Tensor:
    from model_adapters.kernels.chunked_attention import triton_merge

    return triton_merge.merge_outputs(*sides)


@verdicts_kept(maxsize=16)
def _merge_agrees(device: torch.device, dtype: torch.dtype, size: int) -> bool:
    """Whether the Triton merge, one pass instead of many, runs here and agrees with the reference."""

    def reference(*sides: torch.Tensor) -> torch.Tensor:
        return merge_attention((sides[0], sides[1]), (sides[2], sides[3]))[0]

    kinds = ((1, 2, 7, size), dtype), ((1, 2, 7), torch.float32)
    sample = tuple(random_sample(shape, device, kind, seed=seed) for seed in range(2) for shape, kind in kinds)
    checked = checked_once(
        device,
        "merge of attention",
        (dtype, size),
        lambda: trial(_triton_merge, reference, [sample], dtype, tolerance=ATTENTION_TOLERANCE),
    )
    return checked is None


def _fused_agrees(kernel: FusedKernel, shape: AttentionShape) -> bool:
    def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float) -> Attended:
        return chunked_attention(q, k, v, query_offset=0 if causal else k.shape[2], scale=scale)

    even, ragged = ((256, 256, True), (256, 512, False)), ((7, 7, True), (7, 130, False))
    lengths = even if kernel.plans_lengths else even + ragged
    samples = ((*_qkv(shape, queries, keys), causal, shape.key_size**-0.5) for queries, keys, causal in lengths)
    checked = checked_once(
        shape.device,
        f"attention by {_as_checked(kernel.name, shape)}",
        shape[1:],
        lambda: trial(kernel.attend, reference, samples, shape.dtype, tolerance=ATTENTION_TOLERANCE),
    )
    return checked is None


def _windowed_agrees(kernel: WindowedKernel, shape: AttentionShape) -> bool:
    def reference(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int, scale: float, before: KeysValues | None
    ) -> torch.Tensor:
        k, v = behind(before, k, v)
        return chunked_attention(q, k, v, query_offset=k.shape[2] - q.shape[2], window=window, scale=scale)[0]

    scale = shape.key_size**-0.5
    lengths = (7, 150, 40), (128, 300, 129), (200, 200, 64)
    samples: list[Any] = [(*_qkv(shape, queries, keys), window, scale, None) for queries, keys, window in lengths]
    # As behind a ring: the first keys and values are elsewhere in memory.
    q, k, v = _qkv(shape, 200, 456)
    old = k[:, :, :256].clone(), v[:, :, :256].clone()
    samples.append((q, k[:, :, 256:], v[:, :, 256:], 256, scale, old))
    checked = checked_once(
        shape.device,
        f"windowed attention by {_as_checked(kernel.name, shape)}",
        shape[1:],
        lambda: trial(kernel.attend, reference, samples, shape.dtype, tolerance=ATTENTION_TOLERANCE),
    )
    return checked is None


def _as_checked(name: str, shape: AttentionShape) -> str:
    """A kernel's name among verdicts: version 3, once active, also takes the place of PyTorch's own FlashAttention."""
    return f"{name} beside FlashAttention 3" if runs_flash_attention_3(shape.device) else name


def _qkv(shape: AttentionShape, queries: int, keys: int) -> tuple[torch.Tensor, ...]:
    sizes = (
        (shape.heads, queries, shape.key_size),
        (shape.kv_heads, keys, shape.key_size),
        (shape.kv_heads, keys, shape.value_size),
    )
    return tuple(random_sample((1, *size), shape.device, shape.dtype, seed=seed) for seed, size in enumerate(sizes))
