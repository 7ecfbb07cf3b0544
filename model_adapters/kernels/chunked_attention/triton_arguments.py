"""Checks of the tensors that the Triton attention kernels take, with errors of one line."""

import torch

from model_adapters.kernels.trial import KERNEL_DTYPES

MAX_HEAD_SIZE = 256


def check_attention_tensors(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, *, window: int | None
) -> None:
    """Raise ValueError, in one line, if queries, keys and values do not fit each other or the kernels."""
    if q_BHTD.dim() != 4 or k_BGSD.dim() != 4 or v_BGSE.dim() != 4:
        shapes = f"{tuple(q_BHTD.shape)}, {tuple(k_BGSD.shape)}, {tuple(v_BGSE.shape)}"
        raise ValueError(f"q, k, v are {shapes}; each must be [B, heads, tokens, size]")
    sequences, heads, _, key_size = q_BHTD.shape
    key_heads, keys = k_BGSD.shape[1:3]
    if k_BGSD.shape != (sequences, key_heads, keys, key_size):
        raise ValueError(f"k has shape {tuple(k_BGSD.shape)}; {(sequences, key_heads, keys, key_size)} fits q")
    if v_BGSE.shape[:3] != (sequences, key_heads, keys):
        raise ValueError(f"v has shape {tuple(v_BGSE.shape)}; k has {tuple(k_BGSD.shape)}: only sizes may differ")
    if key_heads == 0 or heads % key_heads:
        raise ValueError(f"{heads} query heads cannot share {key_heads} key/value heads")
    if max(key_size, v_BGSE.shape[-1]) > MAX_HEAD_SIZE:
        raise ValueError(f"head sizes {key_size} and {v_BGSE.shape[-1]} exceed {MAX_HEAD_SIZE}; use the PyTorch form")
    if window is not None and window < 1:
        raise ValueError(f"window is {window}; a query sees at least its own key, so it must be at least 1")
    for name, tensor in (("q", q_BHTD), ("k", k_BGSD), ("v", v_BGSE)):
        if tensor.dtype not in KERNEL_DTYPES or tensor.dtype != q_BHTD.dtype:
            raise ValueError(f"{name} is {tensor.dtype}, q {q_BHTD.dtype}; all must be one of bf16, fp16, fp32")
        if tensor.device != q_BHTD.device:
            raise ValueError(f"{name} is on {tensor.device}, q on {q_BHTD.device}; move them to one device")
        if tensor.stride(-1) != 1:
            raise ValueError(f"{name} has stride {tensor.stride(-1)} in its last dimension; make it contiguous there")


def check_attention_out(name: str, out: torch.Tensor, like: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a result of this shape and of q's dtype and device can be written here."""
    if tuple(out.shape) != shape or out.dtype != like.dtype or out.device != like.device or out.stride(-1) != 1:
        raise ValueError(
            f"{name} is {tuple(out.shape)} {out.dtype} on {out.device} with strides {out.stride()}; "
            f"{shape} {like.dtype} on {like.device}, contiguous in its last dimension, is needed"
        )
