"""FlashAttention 3 by PyTorch's `varlen_attn`, on Hopper GPUs if its package is installed.

Shape suffixes: B sequences, X tokens of all sequences, H query heads, G key/value heads, T queries, S keys, D head size
of queries and keys, E head size of values.
"""

import importlib.util
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl

from model_adapters.engine.memory.key_value_buffer import KeysValues, behind
from model_adapters.engine.memory.rows import split_dim
from model_adapters.kernels.chunked_attention.reference import Attended
from model_adapters.messages import first_line

VERSION_3 = "FA3"
VERSION_3_MODULE = "flash_attn_interface"
"""What PyTorch imports when it activates version 3."""
HOPPER = 9
"""The only major compute capability with version 3."""


def activate_flash_attention_3(device: torch.device) -> str | None:
    """Let `varlen_attn` run FlashAttention 3 in this process if it is installed and the device is a Hopper GPU.

    Returns a line if it is installed but cannot be activated; version 2 then remains.
    """
    if importlib.util.find_spec(VERSION_3_MODULE) is None or current_flash_attention_impl() is not None:
        return None
    if not _is_hopper(device):
        return None
    try:
        activate_flash_attention_impl(VERSION_3)
    except (ImportError, OSError, RuntimeError, AttributeError, ValueError) as error:  # built for another PyTorch
        return f"FlashAttention 3 is installed but not used ({type(error).__name__}: {first_line(error)})"
    return None


def runs_flash_attention_3(device: torch.device) -> bool:
    """Whether `varlen_attn` runs version 3 on this device."""
    return current_flash_attention_impl() == VERSION_3 and _is_hopper(device)


def _is_hopper(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == HOPPER


def flash_attention_3(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, causal: bool, scale: float
) -> Attended:
    """Full or causal attention, the latter with T = S: `(out_BHTE, lse_BHT)`; version 2 unless 3 is active."""
    return _attend(q_BHTD, k_BGSD, v_BGSE, scale, (-1, 0 if causal else -1))


def windowed_flash_attention_3(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    window: int,
    scale: float,
    before: KeysValues | None,
) -> torch.Tensor:
    """Sliding-window attention of the last T positions, [B, H, T, E]; keys before the others may be elsewhere."""
    k_BGSD, v_BGSE = behind(before, k_BGSD, v_BGSE)
    # The window counts the keys before a query's own.
    return _attend(q_BHTD, k_BGSD, v_BGSE, scale, (window - 1, 0))[0]


def _attend(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, scale: float, window: tuple[int, int]
) -> Attended:
    """Attention within a window (keys before and behind a query's own, -1 for all), aligned to the last key."""
    # Imported only if it is called, because the import takes time.
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    (B, _, T, _), S, device = q_BHTD.shape, k_BGSD.shape[2], q_BHTD.device
    # Views, for one sequence and for tensors in memory as [B, T, H, D].
    q_XHD, k_XGD, v_XGE = (x.transpose(1, 2).flatten(0, 1) for x in (q_BHTD, k_BGSD, v_BGSE))
    found: Any = varlen_attn(
        q_XHD,
        k_XGD,
        v_XGE,
        ends(B, T, device),
        ends(B, S, device),
        T,
        S,
        return_aux=AuxRequest(lse=True),
        scale=scale,
        window_size=window,
        **_grouping(varlen_attn),
    )
    out_XHE, lse_HX = found  # PyTorch's documentation has the latter the other way round
    return split_dim(out_XHE, 0, (B, T)).transpose(1, 2), split_dim(lse_HX, 1, (B, T)).transpose(0, 1)


@lru_cache(maxsize=4)
def _grouping(attend: Callable[..., Any]) -> dict[str, Any]:
    """The argument without which PyTorch refuses grouped heads since 2.12; 2.11 has none and takes them."""
    return {"enable_gqa": True} if "enable_gqa" in inspect.signature(attend).parameters else {}


@lru_cache(maxsize=256)
def ends(sequences: int, tokens: int, device: torch.device) -> torch.Tensor:
    """Where sequences of so many tokens begin and end among all tokens, [B + 1].

    It is made on the device, and kept for the layers that follow: a copy from the host would wait.
    """
    return torch.arange(0, (sequences + 1) * tokens, tokens, dtype=torch.int32, device=device)
